#include "wee5_cron/core/text/sha256.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace wee5::core {
namespace {

constexpr std::size_t kBlockBytes = 64;
constexpr std::size_t kLengthBytes = 8;

using Block = std::array<unsigned char, kBlockBytes>;
using State = std::array<std::uint32_t, 8>;

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (section 4.2.2).
constexpr std::array<std::uint32_t, 64> kConstants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::array<std::uint32_t, 64> message_schedule(const Block& block) noexcept {
  std::array<std::uint32_t, 64> words{};
  for (std::size_t i = 0; i < kBlockBytes; ++i) words.at(i / 4) = (words.at(i / 4) << 8U) | block.at(i);
  for (std::size_t i = 16; i < words.size(); ++i) {
    const std::uint32_t before15 = words.at(i - 15);
    const std::uint32_t before2 = words.at(i - 2);
    words.at(i) = words.at(i - 16) + (std::rotr(before15, 7) ^ std::rotr(before15, 18) ^ (before15 >> 3U)) +
                  words.at(i - 7) + (std::rotr(before2, 17) ^ std::rotr(before2, 19) ^ (before2 >> 10U));
  }
  return words;
}

void compress(State& state, const Block& block) noexcept {
  const auto words = message_schedule(block);
  auto [a, b, c, d, e, f, g, h] = state;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::uint32_t first = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) +
                                kConstants.at(i) + words.at(i);
    const std::uint32_t second =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + first;
    d = c;
    c = b;
    b = a;
    a = first + second;
  }
  const State added = {a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i < state.size(); ++i) state.at(i) += added.at(i);
}

void copy_bytes(std::string_view from, Block& to) noexcept {
  std::transform(from.begin(), from.end(), to.begin(), [](char byte) { return static_cast<unsigned char>(byte); });
}

}  // namespace

Sha256 sha256(std::string_view bytes) noexcept {
  State state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const std::uint64_t bits = static_cast<std::uint64_t>(bytes.size()) * 8;
  Block block{};
  for (; bytes.size() >= kBlockBytes; bytes.remove_prefix(kBlockBytes)) {
    copy_bytes(bytes.substr(0, kBlockBytes), block);
    compress(state, block);
  }
  // A one bit, zeros, and the length in bits at the end of the last block.
  block = {};
  copy_bytes(bytes, block);
  block.at(bytes.size()) = 0x80;
  if (bytes.size() + 1 + kLengthBytes > kBlockBytes) {
    compress(state, block);
    block = {};
  }
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    block.at(kBlockBytes - 1 - i) = static_cast<unsigned char>(bits >> (8 * i));
  }
  compress(state, block);
  Sha256 digest{};
  for (std::size_t i = 0; i < digest.size(); ++i) {
    digest.at(i) = static_cast<unsigned char>(state.at(i / 4) >> (24 - 8 * (i % 4)));
  }
  return digest;
}

}  // namespace wee5::core
