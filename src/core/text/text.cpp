#include "wee5_cron/core/text/text.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

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

// Adds to `ends` where a spelling of `wanted` at `at` ends: plain, percent-encoded, or escaped as in JSON. There may be
// several: '%' is also the beginning of "%25".
void add_spellings(std::string_view text, std::size_t at, char wanted, std::vector<std::size_t>& ends) {
  if (at >= text.size()) return;
  const auto byte = static_cast<unsigned char>(wanted);
  if (text[at] == wanted || (text[at] == '+' && wanted == ' ')) ends.push_back(at + 1);
  if (text[at] == '%' && hex_pair(text, at + 1) == byte) ends.push_back(at + 3);
  if (text[at] != '\\' || at + 1 >= text.size()) return;
  if (text[at + 1] == wanted) ends.push_back(at + 2);
  if (text.substr(at + 1, 3) == "u00" && hex_pair(text, at + 4) == byte) ends.push_back(at + 6);
}

// The length of the longest spelling of `wanted` at `at`; 0 if there is none.
std::size_t spelled_length(std::string_view text, std::size_t at, std::string_view wanted) {
  std::vector<std::size_t> ends;
  add_spellings(text, at, wanted.front(), ends);
  for (const char next : wanted.substr(1)) {
    if (ends.empty()) return 0;
    std::vector<std::size_t> further;
    for (const std::size_t end : ends) add_spellings(text, end, next, further);
    std::sort(further.begin(), further.end());
    further.erase(std::unique(further.begin(), further.end()), further.end());
    ends = std::move(further);
  }
  return ends.empty() ? 0 : *std::max_element(ends.begin(), ends.end()) - at;
}

// The mark that replaces the secret. If the secret holds a bracket, the mark and the text around it could spell the
// secret again ("...r3t" and "[secret]" for a secret that ends in "r3t[sec").
std::string_view mark_for(std::string_view secret) {
  return secret.find_first_of("[]") == std::string_view::npos ? "[secret]" : kReplacement;
}

std::string replace_spelled(std::string_view text, std::string_view wanted, std::string_view mark) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = spelled_length(text, at, wanted);
    if (length > 0) {
      out += mark;
      at += length;
    } else {
      out += text[at++];
    }
  }
  return out;
}

// The base64 of the secret within a longer text such as "user:secret". It depends on where in a group of three bytes
// the secret begins (`offset`). Returns the characters that the secret alone decides.
std::string base64_of(std::string_view secret, std::size_t offset, std::string_view alphabet) {
  std::string out;
  std::uint32_t bits = 0;
  std::size_t count = 0;
  const std::string padded = std::string(offset, '\0') + std::string(secret);
  for (const char byte : padded) {
    bits = (bits << 8U) | static_cast<unsigned char>(byte);
    for (count += 8; count >= 6; count -= 6) out += alphabet[(bits >> (count - 6)) & 0x3FU];
  }
  // The first characters hold bits of the text before.
  constexpr std::array<std::size_t, 3> kForeign = {0, 2, 3};
  return out.substr(std::min(kForeign.at(offset), out.size()));
}

// Shorter pieces would match ordinary text.
constexpr std::size_t kShortestBase64 = 6;

std::string replace_base64(std::string text, std::string_view secret, std::string_view mark) {
  constexpr std::string_view kCommon = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  for (const std::string_view special : {"+/", "-_"}) {
    const std::string alphabet = std::string(kCommon) + std::string(special);
    // If nothing follows the secret, the last character holds its last bits and zeros, and padding may follow.
    std::string whole = base64_of(secret, 0, alphabet);
    const std::size_t rest = secret.size() % 3;
    if (rest != 0) {
      const std::string zeros = base64_of(std::string(secret).append(3 - rest, '\0'), 0, alphabet);
      whole = zeros.substr(0, whole.size() + 1);
      text = replace_spelled(text, std::string(whole).append(3 - rest, '='), mark);
    }
    text = replace_spelled(text, whole, mark);
    for (const std::size_t offset : {std::size_t{0}, std::size_t{1}, std::size_t{2}}) {
      const std::string piece = base64_of(secret, offset, alphabet);
      if (piece.size() >= kShortestBase64) text = replace_spelled(text, piece, mark);
    }
  }
  return text;
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

std::string redact(std::string_view text, std::string_view secret) {
  if (secret.empty()) return std::string(text);
  const std::string_view mark = mark_for(secret);
  return replace_base64(replace_spelled(text, secret, mark), secret, mark);
}

std::string redact_all(std::string_view text, const std::vector<std::string>& secrets) {
  std::vector<std::string_view> longest_first(secrets.begin(), secrets.end());
  std::stable_sort(longest_first.begin(), longest_first.end(),
                   [](std::string_view a, std::string_view b) { return a.size() > b.size(); });
  std::string redacted(text);
  for (const std::string_view secret : longest_first) {
    // redact() reads a text a dozen times, and no spelling of a secret is shorter than the secret itself.
    if (redacted.size() >= secret.size()) redacted = redact(redacted, secret);
  }
  return redacted;
}

std::size_t longest_spelling(const std::vector<std::string>& secrets) noexcept {
  std::size_t longest = 0;
  for (const std::string& secret : secrets) longest = std::max(longest, kLongestSpelling * secret.size());
  return longest;
}

void drop_margin(std::string& redacted, std::size_t margin) {
  redacted.resize(redacted.size() - std::min(redacted.size(), margin));
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
