#include "wee5_cron/core/request/host_rules.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/core/text/text.hpp"

namespace wee5::core {
namespace {

using Ipv6Bytes = std::array<unsigned char, 16>;

// A host without the brackets of an IPv6 address or the dot of the root at the end.
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

// One part of an IPv4 address, read as inet_aton() does: decimal, 0x hexadecimal or 0 octal.
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

// Reads an IPv4 address in every spelling that resolvers accept ("127.1", "0x7f000001", "2130706433"). As a name, such
// a text would count as a single label, although it can lead to any host on the Internet.
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

// Whether the last label is a number: then the text is meant as an IPv4 address, although ipv4_address() cannot read
// it.
bool looks_numeric(std::string_view name) {
  std::string_view label = last_label(name);
  if (label.size() > 2 && label[0] == '0' && to_lower(label[1]) == 'x') {
    label.remove_prefix(2);
    return std::all_of(label.begin(), label.end(), [](char byte) { return hex_value(byte) >= 0; });
  }
  return std::all_of(label.begin(), label.end(), is_digit);
}

std::optional<Ipv6Bytes> ipv6_address(std::string_view name) {
  name = name.substr(0, name.find('%'));  // the zone names an interface, not a network
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (name.size() >= text.size()) return std::nullopt;
  std::copy(name.begin(), name.end(), text.begin());
  Ipv6Bytes bytes{};
  if (inet_pton(AF_INET6, text.data(), bytes.data()) != 1) return std::nullopt;
  return bytes;
}

// The IPv4 address of ::ffff:a.b.c.d, which is IPv4 on the wire.
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
         ipv4 >> 16U == 0xC0A8 || ipv4 >> 16U == 0xA9FE ||                  // 192.168.0.0/16, 169.254.0.0/16
         ipv4 >> 22U == 0x191;  // 100.64.0.0/10 (RFC 6598): carriers, and overlay networks such as Tailscale
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
  // ASCII only: IDNA turns U+3002 and the like into dots, so one label in Unicode may be several.
  if (std::all_of(name.begin(), name.end(), stands_in_label)) return true;
  const bool hostname = std::all_of(name.begin(), name.end(),
                                    [](char byte) { return stands_in_label(byte) || byte == '.' || !is_ascii(byte); });
  // .svc.cluster.local ends in .local, too.
  return hostname && (ends_with_ignoring_case(name, ".localhost") || ends_with_ignoring_case(name, ".internal") ||
                      ends_with_ignoring_case(name, ".local") || ends_with_ignoring_case(name, ".svc"));
}

// Whether the text is labels separated by dots, with or without a dot at the end.
bool is_domain(std::string_view text) {
  constexpr std::size_t kLongestName = 253;
  if (text.size() > kLongestName) return false;
  if (!text.empty() && text.back() == '.') text.remove_suffix(1);
  if (text.empty() || text.front() == '.' || text.find("..") != std::string_view::npos || text.back() == '.')
    return false;
  return std::all_of(text.begin(), text.end(), [](char byte) { return stands_in_label(byte) || byte == '.'; });
}

bool is_address(std::string_view name) { return looks_numeric(name) || ipv6_address(name).has_value(); }

constexpr std::string_view kBelow = "*.";

bool is_pattern(std::string_view text) {
  if (text.starts_with(kBelow)) return is_domain(text.substr(kBelow.size())) && !is_address(bare(text.substr(2)).name);
  const Host host = bare(text);
  return host.bracketed ? ipv6_address(host.name).has_value() : is_domain(text);
}

bool matches(std::string_view pattern, const Host& host) {
  if (!is_pattern(pattern)) return false;
  if (!pattern.starts_with(kBelow)) return equals_ignoring_case(bare(pattern).name, host.name);
  const std::string_view domain = bare(pattern.substr(kBelow.size())).name;
  return !host.bracketed && !is_address(host.name) && host.name.size() > domain.size() + 1 &&
         host.name[host.name.size() - domain.size() - 1] == '.' && ends_with_ignoring_case(host.name, domain);
}

// Reads a boolean as Postgres does: a word may be abbreviated as long as it is unambiguous.
std::optional<bool> read_boolean(std::string_view text) {
  struct Word {
    std::string_view word;
    std::size_t least;
    bool value;
  };
  constexpr std::array<Word, 8> kWords = {{{"on", 2, true},
                                           {"true", 1, true},
                                           {"yes", 1, true},
                                           {"1", 1, true},
                                           {"off", 2, false},
                                           {"false", 1, false},
                                           {"no", 1, false},
                                           {"0", 1, false}}};
  for (const Word& word : kWords) {
    if (text.size() >= word.least && text.size() <= word.word.size() &&
        equals_ignoring_case(text, word.word.substr(0, text.size()))) {
      return word.value;
    }
  }
  return std::nullopt;
}

// Takes the next pattern off a list.
std::string_view next_pattern(std::string_view& list) {
  const std::size_t comma = list.find(',');
  const std::string_view pattern = without_blanks_around(list.substr(0, comma));
  list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
  return pattern;
}

[[noreturn]] void refuse_pattern(std::string_view pattern) {
  if (pattern == "*" || pattern == "*.") {
    throw Error(
        ErrorKind::kInvalidValue, "\"" + std::string(pattern) + "\" alone would let plain http go to every host.",
        "Name the hosts, as in 'web.prod, *.flycast'; or write on, which sends the secret in clear text to any.");
  }
  if (pattern.empty()) {
    throw Error(ErrorKind::kInvalidValue, "There is a comma with no host beside it.",
                "Give host names with commas between them, as in 'web.prod, *.flycast'.");
  }
  if (read_boolean(pattern)) {
    throw Error(ErrorKind::kInvalidValue, "\"" + printable(pattern) + "\" cannot stand in a list.",
                "Write on or off alone, or only host names, as in 'web.prod, *.flycast'.");
  }
  throw Error(ErrorKind::kInvalidValue, "\"" + printable(pattern) + "\" is not the name of a host.",
              "Give host names without scheme, port or path; a name may begin with *. for every name below it, as in "
              "'web.prod, *.flycast'.");
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

std::string read_plain_http_rule(std::string_view rule) {
  rule = without_blanks_around(rule);
  if (rule.empty()) return "off";
  if (const auto truth = read_boolean(rule)) return *truth ? "on" : "off";
  std::string shown;
  std::string_view left = rule;
  do {
    const bool last = left.find(',') == std::string_view::npos;
    const std::string_view pattern = next_pattern(left);
    if (!is_pattern(pattern) || read_boolean(pattern)) refuse_pattern(pattern);
    shown += (shown.empty() ? "" : ", ") + std::string(pattern);
    if (!last && left.empty()) refuse_pattern("");
  } while (!left.empty());
  return shown;
}

bool plain_http_allowed(std::string_view rule, std::string_view host) noexcept {
  rule = without_blanks_around(rule);
  if (const auto truth = read_boolean(rule)) return *truth;
  const Host given = bare(host);
  for (std::string_view left = rule; !left.empty();) {
    if (matches(next_pattern(left), given)) return true;
  }
  return false;
}

}  // namespace wee5::core
