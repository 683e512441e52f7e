#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wee5::core {

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

}  // namespace wee5::core
