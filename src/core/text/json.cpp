#include "wee5_cron/core/text/json.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/utf8.hpp"

namespace wee5::core {
namespace {

constexpr int kDeepest = 8;

// jsonb keeps a number as a numeric, and refuses it beyond these bounds.
constexpr std::int64_t kHighestDigit = 131'071;  // its power of ten
constexpr std::int64_t kMostDigitsAfterPoint = 16'383;
constexpr std::int64_t kHighestExponent = 1'073'741'822;

// Beyond kHighestExponent, any number will do.
std::int64_t capped_number(std::string_view digits) noexcept {
  std::int64_t number = 0;
  for (const char digit : digits) number = std::min<std::int64_t>(number * 10 + (digit - '0'), kHighestExponent + 1);
  return number;
}

bool fits_numeric(std::string_view whole, std::string_view fraction, std::int64_t exponent) noexcept {
  if (exponent > kHighestExponent || -exponent > kHighestExponent) return false;
  if (static_cast<std::int64_t>(fraction.size()) - exponent > kMostDigitsAfterPoint) return false;
  // 0 has no highest digit.
  if (const std::size_t first = whole.find_first_not_of('0'); first != std::string_view::npos)
    return static_cast<std::int64_t>(whole.size() - 1 - first) + exponent <= kHighestDigit;
  const std::size_t first = fraction.find_first_not_of('0');
  return first == std::string_view::npos || exponent - 1 - static_cast<std::int64_t>(first) <= kHighestDigit;
}

// Each function reads one thing from the front of the text, and returns false if it is not there.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool document(JsonValue& value) {
    if (!this->value(value, 0)) return false;
    skip_blanks();
    return text_.empty();
  }

 private:
  void skip_blanks() {
    const std::size_t end = text_.find_first_not_of(" \t\n\r");
    text_.remove_prefix(end == std::string_view::npos ? text_.size() : end);
  }

  bool take(std::string_view wanted) {
    if (!text_.starts_with(wanted)) return false;
    text_.remove_prefix(wanted.size());
    return true;
  }

  bool value(JsonValue& value, int depth) {
    skip_blanks();
    if (depth > kDeepest || text_.empty()) return false;
    switch (text_.front()) {
      case '{':
        value.kind = JsonValue::Kind::kObject;
        return object(value, depth);
      case '[':
        return array(depth);
      case '"':
        value.kind = JsonValue::Kind::kText;
        return quoted(value.text);
      default:
        return take("true") || take("false") || take("null") || number();
    }
  }

  bool object(JsonValue& object, int depth) {
    take("{");
    skip_blanks();
    if (take("}")) return true;
    do {
      JsonMember member;
      skip_blanks();
      if (!quoted(member.name)) return false;
      skip_blanks();
      if (!take(":") || !value(member.value, depth + 1)) return false;
      object.members.push_back(std::move(member));
      skip_blanks();
    } while (take(","));
    return take("}");
  }

  bool array(int depth) {
    take("[");
    skip_blanks();
    if (take("]")) return true;
    do {
      JsonValue element;
      if (!value(element, depth + 1)) return false;
      skip_blanks();
    } while (take(","));
    return take("]");
  }

  std::string_view digits() {
    const std::string_view found = text_.substr(0, text_.find_first_not_of("0123456789"));
    text_.remove_prefix(found.size());
    return found;
  }

  bool number() {
    take("-");
    const std::string_view whole = take("0") ? std::string_view("0") : digits();
    if (whole.empty()) return false;
    std::string_view fraction;
    if (take(".")) {
      fraction = digits();
      if (fraction.empty()) return false;
    }
    std::int64_t exponent = 0;
    if (take("e") || take("E")) {
      const bool negative = !take("+") && take("-");
      const std::string_view power = digits();
      if (power.empty()) return false;
      exponent = capped_number(power);
      if (negative) exponent = -exponent;
    }
    return fits_numeric(whole, fraction, exponent);
  }

  bool quoted(std::string& out) {
    if (!take("\"")) return false;
    while (!text_.empty()) {
      const char byte = text_.front();
      if (static_cast<unsigned char>(byte) < 0x20) return false;
      text_.remove_prefix(1);
      if (byte == '"') return true;
      if (byte != '\\') {
        out += byte;
      } else if (!escape(out)) {
        return false;
      }
    }
    return false;
  }

  bool escape(std::string& out) {
    constexpr std::string_view kEscapes = "\"\\/bfnrt";
    constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    if (text_.empty()) return false;
    const std::size_t which = kEscapes.find(text_.front());
    if (which != std::string_view::npos) {
      out += kMeant[which];
      text_.remove_prefix(1);
      return true;
    }
    std::uint32_t code_point = 0;
    if (!code_unit(code_point) || code_point == 0 || (code_point >= 0xDC00 && code_point <= 0xDFFF)) return false;
    if (code_point >= 0xD800 && code_point <= 0xDBFF) {
      std::uint32_t low = 0;
      if (!take("\\") || !code_unit(low) || low < 0xDC00 || low > 0xDFFF) return false;
      code_point = 0x10000 + ((code_point - 0xD800) << 10U) + (low - 0xDC00);
    }
    append_utf8(out, code_point);
    return true;
  }

  // u and four digits.
  bool code_unit(std::uint32_t& unit) {
    if (!take("u")) return false;
    const int high = hex_pair(text_, 0);
    const int low = hex_pair(text_, 2);
    if (high < 0 || low < 0) return false;
    unit = static_cast<std::uint32_t>(high * 256 + low);
    text_.remove_prefix(4);
    return true;
  }

  std::string_view text_;
};

}  // namespace

const JsonValue* JsonValue::find(std::string_view name) const noexcept {
  const auto found =
      std::find_if(members.rbegin(), members.rend(), [name](const JsonMember& member) { return member.name == name; });
  return found != members.rend() ? &found->value : nullptr;
}

std::optional<std::string_view> JsonValue::text_of(std::string_view name) const noexcept {
  const JsonValue* found = find(name);
  if (found == nullptr || found->kind != Kind::kText) return std::nullopt;
  return found->text;
}

std::optional<JsonValue> parse_json(std::string_view text) {
  JsonValue value;
  if (!Reader(text).document(value)) return std::nullopt;
  return value;
}

std::string json_text(std::string_view utf8) {
  std::string out = "\"";
  for (const char byte : utf8) {
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += byte;
    } else if (static_cast<unsigned char>(byte) < 0x20) {
      out += "\\u00";
      append_hex(out, static_cast<unsigned char>(byte));
    } else {
      out += byte;
    }
  }
  return out + "\"";
}

}  // namespace wee5::core
