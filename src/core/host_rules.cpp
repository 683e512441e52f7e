#include "wee5_cron/core/host_rules.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "bytes.hpp"

namespace wee5::core {
namespace {

using Ipv6Bytes = std::array<unsigned char, 16>;

// What stands in the URL without what does not change the host: brackets are an IPv6 address's, a trailing dot is the
// root's.
struct Host {
  std::string_view name;
  bool bracketed = false;
};

Host bare(std::string_view host) {
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') return {host.substr(1, host.size() - 2), true};
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  return {host, false};
}

bool ends_with_ignoring_case(std::string_view text, std::string_view suffix) {
  return text.size() > suffix.size() && equals_ignoring_case(text.substr(text.size() - suffix.size()), suffix);
}

std::string_view last_label(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

// One part of an IPv4 address as inet_aton() reads it: decimal, 0x hexadecimal or 0 octal.
std::optional<std::uint64_t> ipv4_part(std::string_view part) {
  int base = 10;
  if (part.size() > 2 && part[0] == '0' && to_lower(part[1]) == 'x') {
    base = 16;
    part.remove_prefix(2);
  } else if (part.size() > 1 && part[0] == '0') {
    base = 8;
  }
  if (part.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char digit : part) {
    const int digit_value = hex_value(digit);
    if (digit_value < 0 || digit_value >= base) return std::nullopt;
    value = value * static_cast<std::uint64_t>(base) + static_cast<std::uint64_t>(digit_value);
    if (value > UINT32_MAX) return std::nullopt;
  }
  return value;
}

// An IPv4 address in every spelling that resolvers accept ("127.1", "0x7f000001", "2130706433"): as a mere name such
// a text would pass for a single label, and lead to any host of the Internet.
std::optional<std::uint32_t> ipv4_address(std::string_view name) {
  std::uint64_t address = 0;
  for (int parts = 1; parts <= 4; ++parts) {
    const std::size_t dot = name.find('.');
    const auto value = ipv4_part(name.substr(0, dot));
    if (!value) return std::nullopt;
    if (dot == std::string_view::npos) {
      // The last part fills all bytes that are left.
      const auto bits_left = static_cast<unsigned>(8 * (5 - parts));
      if (*value >> bits_left != 0) return std::nullopt;
      return static_cast<std::uint32_t>((address << bits_left) | *value);
    }
    if (*value > 255) return std::nullopt;
    address = (address << 8U) | *value;
    name.remove_prefix(dot + 1);
  }
  return std::nullopt;
}

// Where the last label is a number the whole is meant as an IPv4 address, and is none that ipv4_address() could read.
bool looks_numeric(std::string_view name) {
  std::string_view label = last_label(name);
  if (label.size() > 2 && label[0] == '0' && to_lower(label[1]) == 'x') {
    label.remove_prefix(2);
    return std::all_of(label.begin(), label.end(), [](char byte) { return hex_value(byte) >= 0; });
  }
  return std::all_of(label.begin(), label.end(), is_digit);
}

std::optional<Ipv6Bytes> ipv6_address(std::string_view name) {
  name = name.substr(0, name.find('%'));  // a zone: which interface, not which network
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (name.size() >= text.size()) return std::nullopt;
  std::copy(name.begin(), name.end(), text.begin());
  Ipv6Bytes bytes{};
  if (inet_pton(AF_INET6, text.data(), bytes.data()) != 1) return std::nullopt;
  return bytes;
}

// ::ffff:a.b.c.d is IPv4 on the wire.
std::optional<std::uint32_t> mapped_ipv4(const Ipv6Bytes& bytes) {
  constexpr std::array<unsigned char, 12> kPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  if (!std::equal(kPrefix.begin(), kPrefix.end(), bytes.begin())) return std::nullopt;
  std::uint32_t address = 0;
  for (std::size_t i = 12; i < 16; ++i) address = (address << 8U) | bytes.at(i);
  return address;
}

bool is_loopback(std::uint32_t ipv4) { return ipv4 >> 24U == 127; }

bool is_private(std::uint32_t ipv4) {
  return is_loopback(ipv4) || ipv4 >> 24U == 10 || ipv4 >> 20U == 0xAC1 ||  // 172.16.0.0/12
         ipv4 >> 16U == 0xC0A8 || ipv4 >> 16U == 0xA9FE;                    // 192.168.0.0/16, 169.254.0.0/16
}

bool is_loopback(const Ipv6Bytes& bytes) {
  if (const auto ipv4 = mapped_ipv4(bytes)) return is_loopback(*ipv4);
  return bytes.back() == 1 && std::all_of(bytes.begin(), bytes.end() - 1, [](unsigned char byte) { return byte == 0; });
}

bool is_private(const Ipv6Bytes& bytes) {
  if (const auto ipv4 = mapped_ipv4(bytes)) return is_private(*ipv4);
  const bool link_local = bytes[0] == 0xFE && (bytes[1] & 0xC0U) == 0x80U;  // fe80::/10
  const bool unique_local = (bytes[0] & 0xFEU) == 0xFCU;                    // fc00::/7
  return is_loopback(bytes) || link_local || unique_local;
}

bool stands_in_label(char byte) { return is_alnum(byte) || byte == '-' || byte == '_'; }

bool is_private_name(std::string_view name) {
  if (looks_numeric(name)) return false;
  // ASCII only: IDNA turns U+3002 and the like into dots, so that what looks like one label may be several.
  if (std::all_of(name.begin(), name.end(), stands_in_label)) return true;
  const bool hostname = std::all_of(name.begin(), name.end(),
                                    [](char byte) { return stands_in_label(byte) || byte == '.' || !is_ascii(byte); });
  return hostname && (ends_with_ignoring_case(name, ".localhost") || ends_with_ignoring_case(name, ".internal") ||
                      ends_with_ignoring_case(name, ".local"));
}

}  // namespace

bool is_private_host(std::string_view host) noexcept {
  const Host given = bare(host);
  if (const auto ipv6 = ipv6_address(given.name)) return is_private(*ipv6);
  if (given.bracketed) return false;
  if (const auto ipv4 = ipv4_address(given.name)) return is_private(*ipv4);
  return is_private_name(given.name);
}

bool is_loopback_host(std::string_view host) noexcept {
  const Host given = bare(host);
  if (const auto ipv6 = ipv6_address(given.name)) return is_loopback(*ipv6);
  if (given.bracketed) return false;
  if (const auto ipv4 = ipv4_address(given.name)) return is_loopback(*ipv4);
  return equals_ignoring_case(given.name, "localhost");
}

}  // namespace wee5::core
