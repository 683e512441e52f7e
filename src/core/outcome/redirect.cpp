#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "outcome_parts.hpp"
#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/text.hpp"

// The target of a redirect comes from the network, and the hint ends in SQL that a person may copy. So this code parses
// the target, compares it with the address that was called, and builds the SQL from parts that hold only hostname
// characters.
namespace wee5::core {
namespace {

constexpr std::size_t kShownLocation = 200;
constexpr std::size_t kLongestHost = 253;

struct Address {
  bool https = false;
  std::string host;  // lower case
  std::string port;  // as written; empty for the scheme's default
  std::string path;  // from the first slash, without query and fragment
};

bool is_hostname(std::string_view host) {
  if (host.empty() || host.size() > kLongestHost || host.front() == '.' || host.back() == '.') return false;
  if (host.find("..") != std::string_view::npos) return false;
  return std::all_of(host.begin(), host.end(), [](char byte) { return is_alnum(byte) || byte == '-' || byte == '.'; });
}

bool is_port(std::string_view port) {
  return !port.empty() && port.size() <= 5 && port.front() != '0' && std::all_of(port.begin(), port.end(), is_digit);
}

// Reads http(s)://hostname[:port][/...]; nullopt for anything else. So no hint proposes user info, or a host that is
// IPv6, non-ASCII or percent-encoded.
std::optional<Address> read_address(std::string_view url) {
  Address address;
  const std::string scheme = lower_case(url.substr(0, url.find(':')));
  if (scheme != "http" && scheme != "https") return std::nullopt;
  address.https = scheme == "https";
  url.remove_prefix(scheme.size());
  if (!url.starts_with("://")) return std::nullopt;
  url.remove_prefix(3);
  const std::string_view authority = url.substr(0, url.find_first_of("/?#"));
  const std::size_t colon = authority.find(':');
  const std::string_view host = authority.substr(0, colon);
  if (!is_hostname(host)) return std::nullopt;
  address.host = lower_case(host);
  if (colon != std::string_view::npos) {
    const std::string_view port = authority.substr(colon + 1);
    if (!is_port(port)) return std::nullopt;
    if (port != (address.https ? "443" : "80")) address.port = port;
  }
  const std::string_view rest = url.substr(authority.size());
  address.path = rest.substr(0, rest.find_first_of("?#"));
  return address;
}

// Reads a Location: a whole URL, "//host/x" or "/x".
std::optional<Address> read_location(std::string_view location, const Address& called) {
  if (location.starts_with("//")) {
    return read_address((called.https ? "https:" : "http:") + std::string(location));
  }
  if (location.starts_with('/')) {
    Address address = called;
    address.path = location.substr(0, location.find_first_of("?#"));
    return address;
  }
  return read_address(location);
}

std::string_view without_www(std::string_view host) { return host.starts_with("www.") ? host.substr(4) : host; }

// Whether the hosts differ only by "www.". The rest must have two labels or more: "www.com" and "com" are not the same
// site.
bool differs_by_www(std::string_view a, std::string_view b) {
  const bool one_has_it = a.starts_with("www.") != b.starts_with("www.");
  return one_has_it && without_www(a) == without_www(b) && without_www(a).find('.') != std::string_view::npos;
}

// The path prefix of api_url: the part between the host and the endpoint's path.
std::optional<std::string> prefix_of(const Address& called, const Observation& observation) {
  const std::string route = encode_endpoint_path(route_of(split_target(observation.endpoint_path).path));
  if (route.empty() || !called.path.ends_with(route)) return std::nullopt;
  return called.path.substr(0, called.path.size() - route.size());
}

std::optional<std::string> proposed_api_url(const Address& called, const Address& target,
                                            const Observation& observation) {
  if (called.https && !target.https) return std::nullopt;  // no hint gives up TLS
  const bool same_host = called.host == target.host;
  if (!same_host && !differs_by_www(called.host, target.host)) return std::nullopt;
  if (called.port != target.port) return std::nullopt;
  if (same_host && called.https == target.https) return std::nullopt;
  const auto prefix = prefix_of(called, observation);
  if (!prefix) return std::nullopt;
  return (target.https ? "https://" : "http://") + target.host + (target.port.empty() ? "" : ":" + target.port) +
         *prefix;
}

// The caller's path with a trailing slash added or removed, if the redirect asks for nothing else.
std::optional<std::string> path_with_other_slash(const Address& called, const Address& target,
                                                 const Observation& observation) {
  if (called.host != target.host || called.https != target.https || called.port != target.port) return std::nullopt;
  const std::string_view route = route_of(observation.endpoint_path);
  const std::string_view query = std::string_view(observation.endpoint_path).substr(route.size());
  if (target.path == called.path + "/") return std::string(route) + "/" + std::string(query);
  if (called.path == target.path + "/" && route.size() > 1 && route.ends_with('/')) {
    return std::string(route.substr(0, route.size() - 1)) + std::string(query);
  }
  return std::nullopt;
}

std::string hint_of_redirect(const Observation& observation) {
  const auto called = read_address(observation.url);
  const auto target = called ? read_location(observation.location, *called) : std::nullopt;
  if (target) {
    if (const auto api_url = proposed_api_url(*called, *target, observation)) {
      const std::string_view name = split_target(observation.endpoint_path).target;
      return "Call the address that the app redirects to: " +
             std::string(name.empty() ? "ALTER DATABASE ... SET app.settings.api_url = "
                                      : "call wee5_cron.configure_target() again with api_url => ") +
             sql_literal(valid_utf8(*api_url));
    }
    if (const auto path = path_with_other_slash(*called, *target, observation)) {
      return "The app spells this path " +
             std::string(path->size() > observation.endpoint_path.size() ? "with" : "without") +
             " a trailing slash: SELECT invoke_cron_endpoint(" + sql_literal(valid_utf8(*path)) + ")";
    }
    if (target->host == called->host) {
      return "Something in the app redirected the call, often middleware to a login page. Let " +
             shown_path(observation) + " pass without a session: the route itself checks the bearer.";
    }
  }
  return "Redirects are not followed, so that no other host gets the bearer secret. If this is the app's own "
         "address, set " +
         words_of(observation).api_url() + " to it. If it is a login page, let " + shown_path(observation) +
         " pass without a session.";
}

}  // namespace

Advice explain_redirect(const Observation& observation) {
  const std::string status = status_text(observation.http_status);
  if (observation.location.empty()) {
    return {"The app answered " + status + " to " + shown_path(observation) + ".",
            "A cron route must answer 2xx. Redirects are not followed."};
  }
  // A query may hold a token, and does not help.
  const std::string target = observation.location.substr(0, observation.location.find_first_of("?#"));
  return {"The app answered " + status + " to " + shown_path(observation) + ", a redirect to " +
              printable(target, kShownLocation) + ".",
          hint_of_redirect(observation)};
}

}  // namespace wee5::core
