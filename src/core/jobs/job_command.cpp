#include "wee5_cron/core/jobs/job_command.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <span>

#include "sql_tokens.hpp"
#include "wee5_cron/core/text/ascii.hpp"

namespace wee5::core {
namespace {

using Tokens = std::span<const SqlToken>;

// The body of a DO block, and what stands there in an EXECUTE or in another DO block. Deeper nesting is not read.
constexpr int kMostNestedTexts = 2;
// Every user of pg_cron can write a command of any length, and the worker reads all commands. No real job exceeds
// these.
constexpr std::size_t kMostBytes = 1U << 20U;
constexpr int kMostCalls = 20;  // and EXECUTEs

bool opens(const SqlToken& token) { return token.is_operator("(") || token.is_operator("["); }
bool closes(const SqlToken& token) { return token.is_operator(")") || token.is_operator("]"); }

// The index of the bracket that closes the one at `open`; nullopt if there is none.
std::optional<std::size_t> closing_bracket(Tokens tokens, std::size_t open) {
  std::size_t depth = 0;
  for (std::size_t i = open; i < tokens.size(); ++i) {
    if (opens(tokens[i])) ++depth;
    if (closes(tokens[i]) && --depth == 0) return i;
  }
  return std::nullopt;
}

struct Argument {
  std::string_view name;  // of `name => value` or `name := value`; empty for a positional argument
  Tokens value;
};

Argument read_argument(Tokens tokens) {
  if (tokens.size() >= 2 && tokens[0].is_name() && (tokens[1].is_operator("=>") || tokens[1].is_operator(":=")))
    return {tokens[0].text, tokens.subspan(2)};
  return {{}, tokens};
}

std::vector<Argument> read_arguments(Tokens tokens) {
  std::vector<Argument> arguments;
  if (tokens.empty()) return arguments;
  std::size_t depth = 0;
  std::size_t start = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (opens(tokens[i])) ++depth;
    if (closes(tokens[i]) && depth > 0) --depth;
    if (depth > 0 || !tokens[i].is_operator(",")) continue;
    arguments.push_back(read_argument(tokens.subspan(start, i - start)));
    start = i + 1;
  }
  arguments.push_back(read_argument(tokens.subspan(start)));
  return arguments;
}

// Takes a type off `tokens` if a cast to it keeps a text of `bytes` bytes whole: text, varchar, or a long enough
// varchar(n).
bool take_text_type(Tokens& tokens, std::size_t bytes) {
  Tokens rest = tokens;
  if (rest.size() >= 2 && rest[0].is_name() && rest[0].text == "pg_catalog" && rest[1].is_operator("."))
    rest = rest.subspan(2);
  if (rest.empty() || !rest[0].is_name()) return false;
  if (rest[0].text == "text" || rest[0].text == "varchar") {
    rest = rest.subspan(1);
  } else if (rest.size() >= 2 && rest[0].is_word("character") && rest[1].is_word("varying")) {
    rest = rest.subspan(2);
  } else {
    return false;
  }
  if (rest.size() >= 3 && rest[0].is_operator("(") && rest[2].is_operator(")")) {
    std::size_t limit = 0;
    const std::string& digits = rest[1].text;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), limit);
    if (read.ec != std::errc() || read.ptr != digits.data() + digits.size() || limit < bytes) return false;
    rest = rest.subspan(3);
  }
  tokens = rest;
  return true;
}

std::optional<std::string> read_literal(Tokens tokens, int depth = 0);

std::optional<std::string> take_value(Tokens& tokens, int depth);

// Takes (...) off `tokens`, and returns what is between the brackets.
std::optional<Tokens> take_brackets(Tokens& tokens) {
  if (tokens.empty() || !tokens[0].is_operator("(")) return std::nullopt;
  const std::optional<std::size_t> close = closing_bracket(tokens, 0);
  if (!close) return std::nullopt;
  const Tokens inside = tokens.subspan(1, *close - 1);
  tokens = tokens.subspan(*close + 1);
  return inside;
}

// The value of `'...' AS text`, the inside of a CAST.
std::optional<std::string> read_cast(Tokens tokens, int depth) {
  std::optional<std::string> value = take_value(tokens, depth);
  if (!value || tokens.empty() || !tokens[0].is_word("as")) return std::nullopt;
  tokens = tokens.subspan(1);
  return take_text_type(tokens, value->size()) && tokens.empty() ? value : std::nullopt;
}

// Takes a value off `tokens`: a string, text '...', (...) or CAST(... AS text).
std::optional<std::string> take_value(Tokens& tokens, int depth) {
  if (tokens.empty() || depth > 20) return std::nullopt;
  if (tokens[0].kind == SqlToken::Kind::kString) {
    if (!tokens[0].readable) return std::nullopt;
    std::string value = tokens[0].text;
    tokens = tokens.subspan(1);
    return value;
  }
  if (tokens[0].is_word("cast")) {
    tokens = tokens.subspan(1);
    const std::optional<Tokens> inside = take_brackets(tokens);
    return inside ? read_cast(*inside, depth + 1) : std::nullopt;
  }
  if (tokens[0].is_operator("(")) {
    const std::optional<Tokens> inside = take_brackets(tokens);
    return inside ? read_literal(*inside, depth + 1) : std::nullopt;
  }
  // text '...'. A varchar(n) could cut the string that follows, so its length is not read.
  if (take_text_type(tokens, std::string::npos) && !tokens.empty() && tokens[0].kind == SqlToken::Kind::kString)
    return take_value(tokens, depth + 1);
  return std::nullopt;
}

// The text of an expression that is a literal, with nothing but brackets and casts to text around it.
std::optional<std::string> read_literal(Tokens tokens, int depth) {
  std::optional<std::string> value = take_value(tokens, depth);
  while (value && !tokens.empty()) {
    if (!tokens[0].is_operator("::")) return std::nullopt;
    tokens = tokens.subspan(1);
    if (!take_text_type(tokens, value->size())) return std::nullopt;
  }
  return value;
}

// Whether a name and a bracket behind this word are no call: CREATE FUNCTION f(...), INSERT INTO t (...), WITH c (...).
bool calls_nothing_after(const SqlToken& token) {
  static constexpr std::array<std::string_view, 11> kWords = {"function", "procedure", "routine",  "aggregate",
                                                              "into",     "table",     "as",       "execute",
                                                              "prepare",  "with",      "recursive"};
  return token.kind == SqlToken::Kind::kWord && std::find(kWords.begin(), kWords.end(), token.text) != kWords.end();
}

struct Call {
  std::string_view schema;  // empty: not named
  std::string_view function;
  std::vector<Argument> arguments;
  std::size_t begin;  // the first token of its name
  std::size_t end;    // the token behind its bracket
};

bool is_name_of_ours(std::string_view name) {
  static constexpr std::array<std::string_view, 4> kNames = {"invoke_cron_endpoint", "invoke", "run", "harvest"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

// Whether the bracket at `open` follows the name of one of our functions.
bool may_be_ours(Tokens tokens, std::size_t open) {
  return open > 0 && tokens[open].is_operator("(") && tokens[open - 1].is_name() &&
         is_name_of_ours(tokens[open - 1].text);
}

// Reads the call whose bracket is at `open`. nullopt if its name has more parts than database, schema and function.
std::optional<Call> read_call(Tokens tokens, std::size_t open) {
  std::size_t begin = open - 1;
  std::size_t parts = 1;
  while (begin >= 2 && tokens[begin - 1].is_operator(".") && tokens[begin - 2].is_name()) {
    begin -= 2;
    ++parts;
  }
  if (parts > 3 || (begin > 0 && (tokens[begin - 1].is_operator(".") || calls_nothing_after(tokens[begin - 1]))))
    return std::nullopt;
  const std::optional<std::size_t> close = closing_bracket(tokens, open);
  if (!close) return std::nullopt;
  return Call{parts > 1 ? std::string_view(tokens[open - 3].text) : std::string_view(), tokens[open - 1].text,
              read_arguments(tokens.subspan(open + 1, *close - open - 1)), begin, *close + 1};
}

// The argument of that name, else the one at that place; NULL: it is not given.
const Argument* argument_of(const Call& call, std::string_view name, std::size_t place) {
  const std::vector<Argument>& all = call.arguments;
  const auto named = std::find_if(all.begin(), all.end(), [name](const Argument& one) { return one.name == name; });
  if (named != all.end()) return &*named;
  return place < all.size() && all[place].name.empty() ? &all[place] : nullptr;
}

std::optional<std::string> path_of(const Call& call) {
  constexpr std::size_t kPlaceOfTarget = 5;
  const Argument* path = argument_of(call, "endpoint_path", 0);
  if (path == nullptr) return std::nullopt;
  const Argument* target = call.function == "invoke" ? argument_of(call, "target", kPlaceOfTarget) : nullptr;
  if (target == nullptr || (target->value.size() == 1 && target->value[0].is_word("null")))
    return read_literal(path->value);
  const auto literal = read_literal(path->value);
  const auto name = read_literal(target->value);
  return literal && name ? std::optional(*name + ":" + *literal) : std::nullopt;
}

// Whether the only argument is the path. A function of this name with other arguments does not belong to wee5_cron.
bool takes_a_path(const Call& call) {
  if (call.arguments.size() != 1) return false;
  const Argument& argument = call.arguments[0];
  if (argument.value.empty() || argument.value[0].is_operator("*") || argument.value[0].is_word("variadic"))
    return false;
  return argument.name.empty() || argument.name == "endpoint_path";
}

// What format() puts in is not known. No path has this character.
constexpr char kUnknown = '\x01';

// Replaces %s, %1$I and the like.
std::string without_conversions(std::string_view format) {
  std::string text;
  for (std::size_t i = 0; i < format.size(); ++i) {
    std::size_t end = i;
    if (format[i] == '%') {
      do ++end;
      while (end < format.size() && format[end] != '%' && !is_alpha(format[end]));
    }
    const bool converts = end > i && end < format.size();
    text += converts ? kUnknown : format[i];
    if (converts) i = end;
  }
  return text;
}

void skip_brackets(Tokens& tokens) {
  while (!tokens.empty() && tokens[0].is_operator("(")) tokens = tokens.subspan(1);
}

// Takes the start of a call of format() off `tokens`.
bool take_format(Tokens& tokens) {
  Tokens rest = tokens;
  if (rest.size() >= 2 && rest[0].is_name() && rest[0].text == "pg_catalog" && rest[1].is_operator("."))
    rest = rest.subspan(2);
  if (rest.size() < 2 || !rest[0].is_name() || rest[0].text != "format" || !rest[1].is_operator("(")) return false;
  tokens = rest.subspan(2);
  return true;
}

// The SQL that PL/pgSQL's EXECUTE runs, if `tokens`, which follow it, begin with '...' or format('...'. What is
// appended to the text is not read.
std::optional<std::vector<SqlToken>> executed_tokens(Tokens tokens) {
  skip_brackets(tokens);
  const bool is_format = take_format(tokens);
  if (is_format) skip_brackets(tokens);
  if (tokens.empty() || tokens[0].kind != SqlToken::Kind::kString || !tokens[0].readable) return std::nullopt;
  std::optional<std::vector<SqlToken>> executed =
      read_sql_tokens(is_format ? without_conversions(tokens[0].text) : tokens[0].text);
  if (!executed) return std::nullopt;
  for (SqlToken& token : *executed) {
    if (is_format && token.text.find(kUnknown) != std::string::npos) token.readable = false;
  }
  return executed;
}

class Reader {
 public:
  Reader(std::string_view call_schema, JobCommand& command) : call_schema_(call_schema), command_(command) {}

  void read(Tokens tokens, int nested) {
    bool is_do = false;
    bool statement_begins = true;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (statement_begins) is_do = tokens[i].is_word("do");
      statement_begins = tokens[i].is_operator(";");
      if (nested < kMostNestedTexts) {
        if (is_do && tokens[i].kind == SqlToken::Kind::kString) read_nested(read_sql_tokens(tokens[i].text), nested);
        // In a command itself, EXECUTE names a prepared statement.
        if (nested > 0 && tokens[i].is_word("execute")) read_executed(tokens.subspan(i + 1), nested);
      }
      if (may_be_ours(tokens, i)) read_call_at(tokens, i);
    }
  }

  std::optional<JobFunction> function_of(const Call& call) const {
    if (call.function == "invoke_cron_endpoint" && takes_a_path(call) &&
        (call.schema.empty() || call.schema == call_schema_))
      return JobFunction::kInvokeCronEndpoint;
    if (call.schema != "wee5_cron" || call.arguments.empty()) return std::nullopt;
    if (call.function == "invoke") return JobFunction::kInvoke;
    if (call.function == "run") return JobFunction::kRun;
    return std::nullopt;
  }

  // Whether the command is SELECT f('/x') [[AS] name], SELECT * FROM f('/x') [[AS] name] or CALL f('/x'), and no more.
  bool is_plain(Tokens tokens) const {
    tokens = without_semicolons_around(tokens);
    if (tokens.size() < 4) return false;
    const bool is_procedure = tokens[0].is_word("call");
    if (!is_procedure && !tokens[0].is_word("select")) return false;
    const bool from = !is_procedure && tokens[1].is_operator("*") && tokens[2].is_word("from");
    const std::optional<Call> call = call_at(tokens, from ? 3 : 1);
    if (!call || !takes_a_path(*call) || !path_of(*call)) return false;
    const std::optional<JobFunction> function = function_of(*call);
    if (!function || (*function == JobFunction::kRun) != is_procedure) return false;
    const Tokens rest = tokens.subspan(call->end);
    return rest.empty() || (!is_procedure && is_alias(rest));
  }

 private:
  void read_nested(const std::optional<std::vector<SqlToken>>& tokens, int nested) {
    if (tokens) read(*tokens, nested + 1);
  }

  void read_executed(Tokens tokens, int nested) {
    if (++calls_ <= kMostCalls) read_nested(executed_tokens(tokens), nested);
  }

  void read_call_at(Tokens tokens, std::size_t open) {
    if (++calls_ > kMostCalls) return;
    if (const std::optional<Call> call = read_call(tokens, open)) note(*call);
  }

  static Tokens without_semicolons_around(Tokens tokens) {
    while (!tokens.empty() && tokens.back().is_operator(";")) tokens = tokens.first(tokens.size() - 1);
    while (!tokens.empty() && tokens.front().is_operator(";")) tokens = tokens.subspan(1);
    return tokens;
  }

  // The call of a function of ours whose name begins at `name`.
  static std::optional<Call> call_at(Tokens tokens, std::size_t name) {
    std::size_t open = name;
    while (open < tokens.size() && !tokens[open].is_operator("(")) ++open;
    if (open == tokens.size() || !may_be_ours(tokens, open)) return std::nullopt;
    std::optional<Call> call = read_call(tokens, open);
    return call && call->begin == name ? call : std::nullopt;
  }

  static bool is_alias(Tokens tokens) {
    if (tokens.size() == 2 && tokens[0].is_word("as")) tokens = tokens.subspan(1);
    return tokens.size() == 1 && tokens[0].is_name();
  }

  void note(const Call& call) {
    if (const std::optional<JobFunction> function = function_of(call)) {
      if (!command_.calls_us()) command_.endpoint_path = path_of(call);
      if (std::find(command_.functions.begin(), command_.functions.end(), *function) == command_.functions.end())
        command_.functions.push_back(*function);
    } else if (call.schema == "wee5_cron" && call.function == "harvest" && call.arguments.empty()) {
      command_.harvests = true;
    } else if (call.function == "invoke_cron_endpoint" && takes_a_path(call) && !command_.other_schema) {
      command_.other_schema = std::string(call.schema);
      command_.other_path = path_of(call);
    }
  }

  std::string_view call_schema_;
  JobCommand& command_;
  int calls_ = 0;
};

}  // namespace

std::string_view name_of(JobFunction function) {
  switch (function) {
    case JobFunction::kInvokeCronEndpoint:
      return "invoke_cron_endpoint";
    case JobFunction::kInvoke:
      return "invoke";
    case JobFunction::kRun:
      return "run";
  }
  return "";
}

JobCommand read_job_command(std::string_view command, std::string_view call_schema) {
  JobCommand read;
  if (command.size() > kMostBytes) return read;
  const std::optional<std::vector<SqlToken>> tokens = read_sql_tokens(command);
  if (!tokens) return read;
  Reader reader(call_schema, read);
  reader.read(*tokens, 0);
  read.is_plain = reader.is_plain(*tokens);
  return read;
}

}  // namespace wee5::core
