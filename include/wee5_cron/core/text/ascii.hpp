#pragma once

#include <cstddef>
#include <string>
#include <string_view>

// Character classes and conversions for ASCII alone. isalpha() and tolower() of the C library follow LC_CTYPE, which
// inside Postgres is the database's.
namespace wee5::core {

inline constexpr bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }
inline constexpr bool is_alpha(char byte) { return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'); }
inline constexpr bool is_alnum(char byte) { return is_digit(byte) || is_alpha(byte); }
inline constexpr bool is_control(char byte) { return static_cast<unsigned char>(byte) < 0x20 || byte == 0x7F; }
inline constexpr bool is_ascii(char byte) { return static_cast<unsigned char>(byte) < 0x80; }
// As isspace() in the C locale.
inline constexpr bool is_space(char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }
inline constexpr char to_lower(char byte) {
  return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
}

inline constexpr std::string_view without_blanks_around(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

inline std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& byte : out) byte = to_lower(byte);
  return out;
}

inline constexpr bool equals_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  }
  return true;
}

// The value of a hexadecimal digit; -1 for any other byte.
inline constexpr int hex_value(char digit) {
  if (is_digit(digit)) return digit - '0';
  const char lower = to_lower(digit);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// The value of the two hexadecimal digits at `at`; -1 if there are no two.
inline constexpr int hex_pair(std::string_view text, std::size_t at) {
  if (at >= text.size() || text.size() - at < 2) return -1;
  const int high = hex_value(text[at]);
  const int low = hex_value(text[at + 1]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

inline void append_hex(std::string& out, unsigned char byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  out += kDigits[byte >> 4U];
  out += kDigits[byte & 0xFU];
}

inline void append_percent_encoded(std::string& out, char byte) {
  out += '%';
  append_hex(out, static_cast<unsigned char>(byte));
}

}  // namespace wee5::core
