#include "wee5_cron/core/text/redact.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "wee5_cron/core/text/ascii.hpp"

namespace wee5::core {
namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

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
  return secret.find_first_of("[]") == std::string_view::npos ? "[secret]" : kReplacementCharacter;
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

}  // namespace wee5::core
