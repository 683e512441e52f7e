#include "wee5_cron/core/text/text.hpp"

#include "wee5_cron/core/text/ascii.hpp"

namespace wee5::core {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view kEllipsis = "...";

unsigned char byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

// One step through bytes that may be UTF-8: a character, or the longest beginning of one ("maximal subpart", Unicode
// 15, section 3.9), which is replaced as a whole.
struct Decoded {
  std::size_t length = 1;
  char32_t code_point = 0;
  bool valid = false;
  bool cut_short = false;  // a correct beginning that the end of the bytes interrupts
};

// The bytes that may follow a lead byte. The range of the second one excludes overlong forms, surrogates and everything
// above U+10FFFF (RFC 3629).
struct Lead {
  std::size_t length;
  unsigned char second_low;
  unsigned char second_high;
};

Lead lead_of(unsigned char byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

Decoded decode(std::string_view bytes, std::size_t at) {
  const unsigned char first = byte_at(bytes, at);
  if (first < 0x80) return {1, first, true, false};
  const Lead lead = lead_of(first);
  if (lead.length == 0) return {};
  char32_t code_point = first & (0xFFU >> (lead.length + 1));
  for (std::size_t i = 1; i < lead.length; ++i) {
    if (at + i == bytes.size()) return {i, 0, false, true};
    const unsigned char next = byte_at(bytes, at + i);
    const unsigned char low = i == 1 ? lead.second_low : 0x80;
    const unsigned char high = i == 1 ? lead.second_high : 0xBF;
    if (next < low || next > high) return {i, 0, false, false};
    code_point = (code_point << 6U) | (next & 0x3FU);
  }
  return {lead.length, code_point, true, false};
}

// Characters that a terminal does not show, or shows as something else.
bool is_deceptive(char32_t code_point) {
  return code_point < 0x20 || (code_point >= 0x7F && code_point <= 0x9F) ||       // C0, DEL, C1
         code_point == 0xAD || (code_point >= 0x200B && code_point <= 0x200F) ||  // soft hyphen, zero width
         (code_point >= 0x2028 && code_point <= 0x202E) ||                        // line separators, bidi
         (code_point >= 0x2060 && code_point <= 0x206F) || code_point == 0xFEFF;
}

void append_escaped(std::string& out, std::string_view bytes, const Decoded& decoded) {
  if (decoded.valid && decoded.code_point >= 0x80) {
    out += "\\u";
    append_hex(out, static_cast<unsigned char>(decoded.code_point >> 8U));
    append_hex(out, static_cast<unsigned char>(decoded.code_point & 0xFFU));
    return;
  }
  for (const char byte : bytes) {
    out += "\\x";
    append_hex(out, static_cast<unsigned char>(byte));
  }
}

}  // namespace

std::string valid_utf8(std::string_view bytes, bool cut) {
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const Decoded decoded = decode(bytes, at);
    if (decoded.valid && decoded.code_point != 0) {
      out += bytes.substr(at, decoded.length);
    } else if (!(cut && decoded.cut_short)) {
      out += kReplacement;
    }
    at += decoded.length;
  }
  return out;
}

std::string shorten(std::string_view utf8, std::size_t max_bytes) {
  if (utf8.size() <= max_bytes) return std::string(utf8);
  if (max_bytes < kEllipsis.size()) return std::string(kEllipsis.substr(0, max_bytes));
  std::size_t end = max_bytes - kEllipsis.size();
  while (end > 0 && (byte_at(utf8, end) & 0xC0U) == 0x80U) --end;
  return std::string(utf8.substr(0, end)) + std::string(kEllipsis);
}

std::string printable(std::string_view text, std::size_t max_bytes) {
  std::string out;
  for (std::size_t at = 0; at < text.size() && out.size() <= max_bytes;) {
    const Decoded decoded = decode(text, at);
    const std::string_view bytes = text.substr(at, decoded.length);
    if (decoded.valid && !is_deceptive(decoded.code_point)) {
      out += bytes;
    } else {
      append_escaped(out, bytes, decoded);
    }
    at += decoded.length;
  }
  return shorten(out, max_bytes);
}

std::string sql_literal(std::string_view text) {
  const bool has_backslash = text.find('\\') != std::string_view::npos;
  std::string out = has_backslash ? "E'" : "'";
  for (const char next : text) {
    if (next == '\'' || next == '\\') out += next;
    out += next;
  }
  return out + "'";
}

}  // namespace wee5::core
