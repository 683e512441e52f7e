#include "sql_tokens.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "wee5_cron/core/text.hpp"

namespace wee5::core {
namespace {

using Kind = SqlToken::Kind;

constexpr char32_t kLastCodePoint = 0x10FFFF;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
bool is_line_end(char c) { return c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (static_cast<unsigned char>(c) & 0x80U) != 0;
}
bool is_operator_char(char c) { return std::string_view("~!@#^&|`?+-*/%<>=").find(c) != std::string_view::npos; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void append_utf8(std::string& out, char32_t code) {
  const auto byte = [&out](char32_t value) { out += static_cast<char>(static_cast<unsigned char>(value)); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xC0U | (code >> 6U));
    byte(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    byte(0xE0U | (code >> 12U));
    byte(0x80U | ((code >> 6U) & 0x3FU));
    byte(0x80U | (code & 0x3FU));
  } else {
    byte(0xF0U | (code >> 18U));
    byte(0x80U | ((code >> 12U) & 0x3FU));
    byte(0x80U | ((code >> 6U) & 0x3FU));
    byte(0x80U | (code & 0x3FU));
  }
}

// Builds a value out of characters and escapes. UTF-16 surrogates have to come in pairs.
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

  // False where a comment has no end.
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

  bool scan_token() {
    const char c = peek();
    if (c == '\'') return scan_string(Kind::kString);
    if (c == '"') return scan_quoted_name();
    if (c == '$') return scan_dollar();
    const char next = peek(1);
    if (lower(c) == 'u' && next == '&' && (peek(2) == '\'' || peek(2) == '"')) {
      at_ += 2;
      return scan_unicode(peek(), peek() == '"' ? Kind::kQuotedName : Kind::kString);
    }
    if (next == '\'' && lower(c) == 'e') {
      ++at_;
      return scan_escape_string();
    }
    if (next == '\'' && (lower(c) == 'n' || lower(c) == 'b' || lower(c) == 'x')) {
      ++at_;
      return scan_string(lower(c) == 'n' ? Kind::kString : Kind::kOther);
    }
    if (is_letter(c)) {
      scan_word();
    } else if (is_digit(c)) {
      scan_number();
    } else {
      scan_operator();
    }
    return true;
  }

  // From one quoted part to the next: 'a' <line end> 'b' is one string.
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

  // The characters of a quoted part, whose quote the scanner stands on; each goes to `take`, which may eat more of
  // them.
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

  // Up to `most` digits as a number; false where there are fewer than `least`.
  bool take_hex(int least, int most, char32_t* number) {
    int count = 0;
    *number = 0;
    for (; count < most && at_ < text_.size() && hex_value(peek()) >= 0; ++count, ++at_)
      *number = *number * 16 + static_cast<char32_t>(hex_value(peek()));
    return count >= least;
  }

  void take_escape() {
    if (peek() != '\\') return take_plain();
    ++at_;
    if (at_ >= text_.size()) return;
    const char c = text_[at_++];
    char32_t number = 0;
    static constexpr std::string_view kNames = "bfnrt";
    static constexpr std::string_view kValues = "\b\f\n\r\t";
    if (const std::size_t which = kNames.find(c); which != std::string_view::npos) {
      value_.add_plain(kValues[which]);
    } else if (c == 'u' || c == 'U') {
      const int digits = c == 'u' ? 4 : 8;
      if (take_hex(digits, digits, &number))
        value_.add_code_point(number);
      else
        value_.refuse();
    } else if (c == 'x' && hex_value(peek()) >= 0) {
      take_hex(1, 2, &number);
      value_.add_byte(static_cast<int>(number));
    } else if (c >= '0' && c <= '7') {
      int octal = c - '0';
      for (int i = 0; i < 2 && peek() >= '0' && peek() <= '7'; ++i) octal = octal * 8 + (text_[at_++] - '0');
      value_.add_byte(octal & 0xFF);
    } else {
      value_.add_plain(c);
    }
  }

  bool scan_escape_string() {
    if (!scan_quoted('\'', [this] { take_escape(); })) return false;
    finish(Kind::kString);
    return true;
  }

  // U&'...' and U&"...": the escape character is told behind it, so that the text is kept first.
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
      while (matched < kKeyword.size() && lower(peek(matched)) == kKeyword[matched]) ++matched;
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

  bool finish_unicode(Kind kind) {
    const std::string raw = std::exchange(raw_, {});
    const char escape = read_uescape();
    if (hex_value(escape) >= 0 || is_space(escape) || escape == '+' || escape == '\'' || escape == '"') value_.refuse();
    for (std::size_t i = 0; i < raw.size();) {
      if (raw[i] != escape) {
        value_.add_plain(raw[i++]);
      } else if (i + 1 < raw.size() && raw[i + 1] == escape) {
        value_.add_plain(escape);
        i += 2;
      } else {
        const bool is_long = i + 1 < raw.size() && raw[i + 1] == '+';
        const std::size_t digits = is_long ? 6 : 4;
        i += is_long ? 2 : 1;
        char32_t code = 0;
        bool valid = raw.size() - i >= digits;
        for (std::size_t k = 0; valid && k < digits; ++k) {
          valid = hex_value(raw[i + k]) >= 0;
          if (valid) code = code * 16 + static_cast<char32_t>(hex_value(raw[i + k]));
        }
        if (!valid) {
          value_.refuse();
          break;
        }
        value_.add_code_point(code);
        i += digits;
      }
    }
    finish(kind);
    return !broken_;
  }

  // $tag$...$tag$, or a parameter.
  bool scan_dollar() {
    std::size_t end = at_ + 1;
    if (end < text_.size() && is_letter(text_[end])) {
      while (end < text_.size() && (is_letter(text_[end]) || is_digit(text_[end]))) ++end;
    }
    if (end >= text_.size() || text_[end] != '$') {
      ++at_;
      scan_number();
      return true;
    }
    const std::string_view tag = text_.substr(at_, end + 1 - at_);
    const std::size_t body = end + 1;
    const std::size_t close = text_.find(tag, body);
    if (close == std::string_view::npos) return false;
    tokens_.push_back({Kind::kString, std::string(text_.substr(body, close - body)), true});
    at_ = close + tag.size();
    return true;
  }

  void scan_word() {
    std::string word;
    for (; at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]) || text_[at_] == '$'); ++at_)
      word += lower(text_[at_]);
    tokens_.push_back({Kind::kWord, std::move(word), true});
  }

  void scan_number() {
    const std::size_t start = at_;
    while (at_ < text_.size() && (is_digit(text_[at_]) || is_letter(text_[at_]) || text_[at_] == '.')) ++at_;
    tokens_.push_back({Kind::kOther, std::string(text_.substr(start, at_ - start)), true});
  }

  void scan_operator() {
    for (const std::string_view two : {std::string_view("::"), std::string_view(":=")}) {
      if (has(two)) return add_operator(two.size());
    }
    if (!is_operator_char(peek())) return add_operator(1);
    // The longest run of such characters, in which no comment begins. One that could be an operator of plain SQL loses
    // the signs at its end.
    std::size_t length = 0;
    bool signs_belong = false;
    while (is_operator_char(peek(length))) {
      const std::string_view rest = text_.substr(at_ + length, 2);
      if (length > 0 && (rest == "--" || rest == "/*")) break;
      signs_belong = signs_belong || std::string_view("~!@#^&|`?%").find(peek(length)) != std::string_view::npos;
      ++length;
    }
    while (!signs_belong && length > 1 && (peek(length - 1) == '+' || peek(length - 1) == '-')) --length;
    add_operator(length);
  }

  void add_operator(std::size_t length) {
    tokens_.push_back({Kind::kOperator, std::string(text_.substr(at_, length)), true});
    at_ += length;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  bool broken_ = false;     // a comment has no end
  bool keeps_raw_ = false;  // what is quoted goes to raw_, its escapes are read later
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
