#include "sql_tokens.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/text.hpp"
#include "wee5_cron/core/text/utf8.hpp"

namespace wee5::core {
namespace {

using Kind = SqlToken::Kind;

constexpr char32_t kLastCodePoint = 0x10FFFF;

bool is_line_end(char c) { return c == '\n' || c == '\r'; }
bool is_letter(char c) { return is_alpha(c) || c == '_' || !is_ascii(c); }
bool is_operator_char(char c) { return std::string_view("~!@#^&|`?+-*/%<>=").find(c) != std::string_view::npos; }

// The value of a string, built from its characters and escapes. UTF-16 surrogates must come in pairs.
class EscapedText {
 public:
  void add_plain(char c) {
    expect_no_pair();
    out_ += c;
  }
  void add_byte(int value) {
    expect_no_pair();
    out_ += static_cast<char>(static_cast<unsigned char>(value));
  }
  void add_code_point(char32_t code) {
    if (code >= 0xDC00 && code <= 0xDFFF && first_of_pair_ != 0) {
      code = 0x10000 + ((first_of_pair_ & 0x3FFU) << 10U) + (code & 0x3FFU);
      first_of_pair_ = 0;
      append_utf8(out_, code);
      return;
    }
    expect_no_pair();
    if (code >= 0xD800 && code <= 0xDBFF) {
      first_of_pair_ = code;
    } else if (code == 0 || code > kLastCodePoint || (code >= 0xDC00 && code <= 0xDFFF)) {
      readable_ = false;
    } else {
      append_utf8(out_, code);
    }
  }
  void refuse() { readable_ = false; }

  SqlToken token(Kind kind) {
    expect_no_pair();
    const bool readable = readable_ && out_.find('\0') == std::string::npos && valid_utf8(out_) == out_;
    return {kind, std::move(out_), readable};
  }

 private:
  void expect_no_pair() {
    if (first_of_pair_ != 0) readable_ = false;
    first_of_pair_ = 0;
  }

  std::string out_;
  char32_t first_of_pair_ = 0;
  bool readable_ = true;
};

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::optional<std::vector<SqlToken>> scan() {
    while (skip_blanks() && at_ < text_.size()) {
      if (!scan_token()) return std::nullopt;
    }
    if (broken_) return std::nullopt;
    return std::move(tokens_);
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool has(std::string_view expected) const { return text_.substr(at_, expected.size()) == expected; }

  void skip_line() {
    while (at_ < text_.size() && !is_line_end(text_[at_])) ++at_;
  }

  bool skip_block_comment() {
    int depth = 0;
    do {
      if (at_ >= text_.size()) return false;
      if (has("/*")) {
        ++depth;
        at_ += 2;
      } else if (has("*/")) {
        --depth;
        at_ += 2;
      } else {
        ++at_;
      }
    } while (depth > 0);
    return true;
  }

  // False if a comment has no end.
  bool skip_blanks() {
    while (at_ < text_.size()) {
      if (is_space(text_[at_])) {
        ++at_;
      } else if (has("--")) {
        skip_line();
      } else if (has("/*")) {
        if (!skip_block_comment()) {
          broken_ = true;
          return false;
        }
      } else {
        break;
      }
    }
    return true;
  }

  // False if the token has no end.
  bool scan_token() {
    const char c = peek();
    if (c == '\'') return scan_string(Kind::kString);
    if (c == '"') return scan_quoted_name();
    if (c == '$') return scan_dollar();
    if (is_digit(c)) return scan_number();
    if (!is_letter(c)) return scan_operator();
    const std::optional<bool> prefixed = scan_prefixed_string(to_lower(c));
    return prefixed ? *prefixed : scan_word();
  }

  // E'...', N'...', B'...', X'...', U&'...' or U&"..."; nullopt if the letter begins none of them.
  std::optional<bool> scan_prefixed_string(char letter) {
    const char next = peek(1);
    if (letter == 'u' && next == '&' && (peek(2) == '\'' || peek(2) == '"')) {
      at_ += 2;
      return scan_unicode(peek(), peek() == '"' ? Kind::kQuotedName : Kind::kString);
    }
    if (next != '\'' || std::string_view("enbx").find(letter) == std::string_view::npos) return std::nullopt;
    ++at_;
    if (letter == 'e') return scan_escape_string();
    return scan_string(letter == 'n' ? Kind::kString : Kind::kOther);
  }

  // Steps over blanks from one quoted part to the next: 'a' <line end> 'b' is one string.
  bool continues() {
    const std::size_t start = at_;
    bool line_end = false;
    while (at_ < text_.size()) {
      if (is_space(text_[at_])) {
        line_end = line_end || is_line_end(text_[at_]);
        ++at_;
      } else if (has("--")) {
        skip_line();
      } else {
        break;
      }
    }
    if (line_end && peek() == '\'') return true;
    at_ = start;
    return false;
  }

  // Reads a quoted part from its first quote on. Calls `take` at each character; `take` may consume more than one.
  template <class Take>
  bool scan_quoted(char quote, Take take) {
    for (++at_; at_ < text_.size();) {
      if (text_[at_] != quote) {
        take();
      } else if (peek(1) == quote) {
        if (keeps_raw_)
          raw_ += quote;
        else
          value_.add_plain(quote);
        at_ += 2;
      } else {
        ++at_;
        if (quote != '\'' || !continues()) return true;
        ++at_;
      }
    }
    return false;
  }

  void take_plain() { value_.add_plain(text_[at_++]); }

  void finish(Kind kind) {
    tokens_.push_back(value_.token(kind));
    value_ = EscapedText();
  }

  bool scan_string(Kind kind) {
    if (!scan_quoted('\'', [this] { take_plain(); })) return false;
    finish(kind);
    return true;
  }

  // Reads up to `most` hexadecimal digits; false if there are fewer than `least`.
  bool take_hex(int least, int most, char32_t* number) {
    int count = 0;
    *number = 0;
    for (; count < most && at_ < text_.size() && hex_value(peek()) >= 0; ++count, ++at_)
      *number = *number * 16 + static_cast<char32_t>(hex_value(peek()));
    return count >= least;
  }

  static bool is_octal(char c) { return c >= '0' && c <= '7'; }

  // One character of E'...'.
  void take_escape() {
    if (peek() != '\\') return take_plain();
    ++at_;
    if (at_ >= text_.size()) return;
    const char c = text_[at_++];
    if (c == 'u' || c == 'U') return take_code_point(c == 'u' ? 4 : 8);
    if (c == 'x' && hex_value(peek()) >= 0) {
      char32_t byte = 0;
      take_hex(1, 2, &byte);
      return value_.add_byte(static_cast<int>(byte));
    }
    if (is_octal(c)) return take_octal(c - '0');
    static constexpr std::string_view kNames = "bfnrt";
    static constexpr std::string_view kValues = "\b\f\n\r\t";
    const std::size_t which = kNames.find(c);
    value_.add_plain(which != std::string_view::npos ? kValues[which] : c);
  }

  void take_code_point(int digits) {
    char32_t code = 0;
    if (take_hex(digits, digits, &code))
      value_.add_code_point(code);
    else
      value_.refuse();
  }

  void take_octal(int byte) {
    for (int i = 0; i < 2 && is_octal(peek()); ++i) byte = byte * 8 + (text_[at_++] - '0');
    value_.add_byte(byte & 0xFF);
  }

  bool scan_escape_string() {
    if (!scan_quoted('\'', [this] { take_escape(); })) return false;
    finish(Kind::kString);
    return true;
  }

  // U&'...' and U&"...": the escape character is named behind the text (UESCAPE), so the text is kept first.
  bool scan_unicode(char quote, Kind kind) {
    keeps_raw_ = true;
    const bool ended = scan_quoted(quote, [this] { raw_ += text_[at_++]; });
    keeps_raw_ = false;
    return ended && finish_unicode(kind);
  }

  bool scan_quoted_name() {
    if (!scan_quoted('"', [this] { take_plain(); })) return false;
    finish(Kind::kQuotedName);
    return true;
  }

  // UESCAPE 'c', if it follows.
  char read_uescape() {
    const std::size_t start = at_;
    static constexpr std::string_view kKeyword = "uescape";
    if (skip_blanks()) {
      std::size_t matched = 0;
      while (matched < kKeyword.size() && to_lower(peek(matched)) == kKeyword[matched]) ++matched;
      if (matched == kKeyword.size() && !is_letter(peek(matched)) && !is_digit(peek(matched))) {
        at_ += matched;
        const char escape = peek(skip_blanks() ? 1 : 0);
        if (peek() == '\'' && peek(2) == '\'') {
          at_ += 3;
          return escape;
        }
        value_.refuse();
      }
    }
    at_ = start;
    return '\\';
  }

  // The code point that XXXX or +XXXXXX at the beginning of `text` names, taken off it; nullopt if it names none.
  static std::optional<char32_t> take_unicode_escape(std::string_view& text) {
    const bool is_long = text.starts_with('+');
    if (is_long) text.remove_prefix(1);
    const std::size_t digits = is_long ? 6 : 4;
    if (text.size() < digits) return std::nullopt;
    char32_t code = 0;
    for (const char digit : text.substr(0, digits)) {
      if (hex_value(digit) < 0) return std::nullopt;
      code = code * 16 + static_cast<char32_t>(hex_value(digit));
    }
    text.remove_prefix(digits);
    return code;
  }

  bool finish_unicode(Kind kind) {
    const std::string raw = std::exchange(raw_, {});
    const char escape = read_uescape();
    if (hex_value(escape) >= 0 || is_space(escape) || escape == '+' || escape == '\'' || escape == '"') value_.refuse();
    for (std::string_view rest = raw; !rest.empty();) {
      const char c = rest.front();
      rest.remove_prefix(1);
      if (c != escape) {
        value_.add_plain(c);
      } else if (rest.starts_with(escape)) {
        value_.add_plain(escape);
        rest.remove_prefix(1);
      } else if (const std::optional<char32_t> code = take_unicode_escape(rest)) {
        value_.add_code_point(*code);
      } else {
        value_.refuse();
        break;
      }
    }
    finish(kind);
    return !broken_;
  }

  // $tag$...$tag$, or a parameter such as $1.
  bool scan_dollar() {
    std::size_t end = at_ + 1;
    if (end < text_.size() && is_letter(text_[end])) {
      while (end < text_.size() && (is_letter(text_[end]) || is_digit(text_[end]))) ++end;
    }
    if (end >= text_.size() || text_[end] != '$') {
      ++at_;
      return scan_number();
    }
    const std::string_view tag = text_.substr(at_, end + 1 - at_);
    const std::size_t body = end + 1;
    const std::size_t close = text_.find(tag, body);
    if (close == std::string_view::npos) return false;
    tokens_.push_back({Kind::kString, std::string(text_.substr(body, close - body)), true});
    at_ = close + tag.size();
    return true;
  }

  bool scan_word() {
    std::string word;
    for (; at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]) || text_[at_] == '$'); ++at_)
      word += to_lower(text_[at_]);
    tokens_.push_back({Kind::kWord, std::move(word), true});
    return true;
  }

  bool scan_number() {
    const std::size_t start = at_;
    while (at_ < text_.size() && (is_digit(text_[at_]) || is_letter(text_[at_]) || text_[at_] == '.')) ++at_;
    tokens_.push_back({Kind::kOther, std::string(text_.substr(start, at_ - start)), true});
    return true;
  }

  bool scan_operator() {
    for (const std::string_view two : {std::string_view("::"), std::string_view(":=")}) {
      if (has(two)) return add_operator(two.size());
    }
    if (!is_operator_char(peek())) return add_operator(1);
    // The longest run of operator characters in which no comment begins. It loses the signs at its end unless it holds
    // a character that no operator of standard SQL has.
    std::size_t length = 0;
    bool signs_belong = false;
    while (is_operator_char(peek(length))) {
      const std::string_view rest = text_.substr(at_ + length, 2);
      if (length > 0 && (rest == "--" || rest == "/*")) break;
      signs_belong = signs_belong || std::string_view("~!@#^&|`?%").find(peek(length)) != std::string_view::npos;
      ++length;
    }
    const std::size_t end = at_ + length;
    while (!signs_belong && length > 1 && (peek(length - 1) == '+' || peek(length - 1) == '-')) --length;
    add_operator(length);
    // Each of those signs is an operator. Read here: from each of them, a long run would be read to its end again.
    while (at_ < end) add_operator(1);
    return true;
  }

  bool add_operator(std::size_t length) {
    tokens_.push_back({Kind::kOperator, std::string(text_.substr(at_, length)), true});
    at_ += length;
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  bool broken_ = false;     // a comment has no end
  bool keeps_raw_ = false;  // quoted text goes to raw_; its escapes are read later
  std::string raw_;
  EscapedText value_;
  std::vector<SqlToken> tokens_;
};

}  // namespace

std::optional<std::vector<SqlToken>> read_sql_tokens(std::string_view text) {
  if (text.find('\0') != std::string_view::npos || valid_utf8(text) != text) return std::nullopt;
  return Scanner(text).scan();
}

}  // namespace wee5::core
