#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wee5::core {

// One token of an SQL text, as Postgres's own scanner would return it. There are none for comments and blanks.
struct SqlToken {
  enum class Kind {
    kWord,        // a keyword or an unquoted name, in lower case
    kQuotedName,  // "Name" or U&"Name": the text between the quotes
    kString,      // '...', E'...', U&'...', N'...' or $tag$...$tag$: its value
    kOperator,    // one operator, or one of ( ) [ ] , ; . : :: :=
    kOther,       // numbers, parameters, bit strings
  };
  Kind kind;
  std::string text;
  bool readable = true;  // false: it is a string or name with an escape that Postgres refuses

  bool is_word(std::string_view word) const { return kind == Kind::kWord && text == word; }
  bool is_operator(std::string_view name) const { return kind == Kind::kOperator && text == name; }
  bool is_name() const { return kind == Kind::kWord || (kind == Kind::kQuotedName && readable); }
};

// Splits a text into tokens. Returns nullopt if Postgres would refuse the whole text: it is not UTF-8, or a quote or a
// comment has no end. Reads strings as with standard_conforming_strings on.
std::optional<std::vector<SqlToken>> read_sql_tokens(std::string_view text);

}  // namespace wee5::core
