#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace wee5::core {

inline constexpr std::size_t kSha256Bytes = 32;
using Sha256 = std::array<unsigned char, kSha256Bytes>;

// SHA-256 (FIPS 180-4), for ids that nobody can compute without the input. Do not use it for signatures: it does not
// run in constant time.
Sha256 sha256(std::string_view bytes) noexcept;

}  // namespace wee5::core
