#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wee5::core {

// Makes valid UTF-8 without NUL from bytes of the network: invalid bytes become U+FFFD. `cut`: the bytes were cut off
// at a limit, so an incomplete character at the end is dropped instead.
std::string valid_utf8(std::string_view bytes, bool cut = false);

// Replaces every occurrence of the secret in `text`, also percent-encoded or as base64, by "[secret]", or by U+FFFD if
// the secret itself holds brackets.
std::string redact(std::string_view text, std::string_view secret);

// Replaces every occurrence of each secret. The longest comes first: a shorter one may be a part of it.
std::string redact_all(std::string_view text, const std::vector<std::string>& secrets);

// No spelling of a secret that redact() knows is longer than this, in bytes per byte of the secret.
inline constexpr std::size_t kLongestSpelling = 6;

// The most bytes that a spelling of one of the secrets has.
std::size_t longest_spelling(const std::vector<std::string>& secrets) noexcept;

// After redact(), for a text of which only the beginning was read: removes the last `margin` bytes, in which the
// beginning of a secret may stand whose rest was not read. `margin`: at least the longest spelling of the secret.
void drop_margin(std::string& redacted, std::size_t margin);

// At most `max_bytes` bytes of valid UTF-8. Cuts between characters, and puts "..." at the end if it cuts.
std::string shorten(std::string_view utf8, std::size_t max_bytes);

// `text` as part of a message: one line of valid UTF-8, at most `max_bytes` bytes. Writes control bytes, invalid bytes
// and invisible or direction-changing characters as \xNN or \uNNNN, so that a reader sees them.
std::string printable(std::string_view text, std::size_t max_bytes = 100);

// `text` as an SQL string literal that means the same with standard_conforming_strings on and off.
std::string sql_literal(std::string_view text);

}  // namespace wee5::core
