#include "wee5_cron/delivery/address/url.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/request/host_rules.hpp"
#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/core/text/text.hpp"
#include "wee5_cron/delivery/address/proxy.hpp"

namespace wee5::delivery {
namespace {

using core::is_ascii;
using core::without_blanks_around;

struct CurlUrlCleanup {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
};
using CurlUrl = std::unique_ptr<CURLU, CurlUrlCleanup>;

// A URL as libcurl parses it. libcurl will make the call, so no other parser decides: where two parsers disagree about
// the end of the host, a bearer reaches a stranger.
struct UrlParts {
  CurlUrl handle;
  CURLUcode error = CURLUE_OK;

  // Empty if the URL has no such part.
  std::string get(CURLUPart part, unsigned int flags = 0) const {
    char* text = nullptr;
    if (curl_url_get(handle.get(), part, &text, flags) != CURLUE_OK) return "";
    const std::unique_ptr<char, void (*)(void*)> owner(text, curl_free);
    return text;
  }
  std::string port() const { return get(CURLUPART_PORT, CURLU_DEFAULT_PORT); }
};

UrlParts parse(const std::string& url) {
  UrlParts parts{CurlUrl(curl_url())};
  if (!parts.handle) throw std::bad_alloc();
  // CURLU_PATH_AS_IS: libcurl would resolve "/a/../b" silently. No CURLU_GUESS_SCHEME: "evil.example" is no URL.
  parts.error =
      curl_url_set(parts.handle.get(), CURLUPART_URL, url.c_str(), CURLU_PATH_AS_IS | CURLU_NON_SUPPORT_SCHEME);
  if (parts.error == CURLUE_OUT_OF_MEMORY) throw std::bad_alloc();
  return parts;
}

// The value for a message. Text before an '@' or after a '?' may be a password or a token.
std::string shown(std::string_view api_url) {
  const std::size_t query = api_url.find_first_of("?#");
  std::string text(api_url.substr(0, query));
  const std::size_t at = api_url.rfind('@');
  if (at != std::string_view::npos) {
    const std::size_t slashes = api_url.find("://");
    const bool has_scheme = slashes != std::string_view::npos && slashes < at;
    const std::string_view after = at < text.size() ? std::string_view(text).substr(at) : "@...";
    text = std::string(has_scheme ? api_url.substr(0, slashes + 3) : "") + "..." + std::string(after);
  }
  if (query != std::string_view::npos) text += std::string(1, api_url[query]) + "...";
  return core::printable(text, 200);
}

// An address that a person gave, and how to speak of it.
struct GivenAddress {
  std::string_view text;
  const core::AddressWords& words;

  std::string how_to_set() const {
    return "Set " + words.whose() + " origin: " + words.set_api_url("'https://app.example.com'") + ".";
  }
  [[noreturn]] void refuse(const std::string& rule, std::string hint) const {
    throw core::Error(core::ErrorKind::kNotReady, words.api_url_at_fault() + " \"" + shown(text) + "\" " + rule,
                      std::move(hint));
  }
  [[noreturn]] void refuse(const std::string& rule) const { refuse(rule, how_to_set()); }
};

bool is_control_or_space(char byte) { return static_cast<unsigned char>(byte) <= 0x20 || byte == 0x7F; }
bool fits_in_url(char byte) { return is_ascii(byte) && !is_control_or_space(byte); }

// The text, split as RFC 3986 says. libcurl gets a URL that is built from these pieces.
struct Pieces {
  std::string scheme;  // in lower case
  std::string_view authority;
  std::string_view path;
};

void check_text(const GivenAddress& given) {
  const std::string_view api_url = given.text;
  if (api_url.empty()) given.refuse("is empty");
  if (std::any_of(api_url.begin(), api_url.end(), is_control_or_space)) {
    given.refuse("holds a blank or a control character");
  }
  if (api_url.find('\\') != std::string_view::npos) given.refuse("holds a backslash");
  if (api_url.find('?') != std::string_view::npos) given.refuse("holds a query, from '?' on");
  if (api_url.find('#') != std::string_view::npos) given.refuse("holds a fragment, from '#' on");
}

Pieces cut(const GivenAddress& given) {
  const std::string_view api_url = given.text;
  const std::size_t slashes = api_url.find("://");
  if (slashes == std::string_view::npos) {
    given.refuse("does not begin with https://",
                 "Give the scheme too, as in 'https://app.example.com'. " + given.how_to_set());
  }
  Pieces pieces;
  pieces.scheme = core::lower_case(api_url.substr(0, slashes));
  if (pieces.scheme != "http" && pieces.scheme != "https") given.refuse("is neither https:// nor http://");
  // libcurl would accept "https:///host", in which another parser sees no host.
  const std::string_view rest = api_url.substr(slashes + 3);
  pieces.authority = rest.substr(0, rest.find('/'));
  if (pieces.authority.find('@') != std::string_view::npos) {
    given.refuse("holds user information before an '@'",
                 "Leave it out: " + given.words.called_with() + ". " + given.how_to_set());
  }
  if (pieces.authority.empty() || pieces.authority.front() == ':') given.refuse("names no host");
  pieces.path = rest.substr(pieces.authority.size());
  if (!pieces.path.empty() && pieces.path.back() == '/') pieces.path.remove_suffix(1);
  if (!std::all_of(pieces.authority.begin(), pieces.authority.end(), is_ascii)) {
    // libcurl converts such a name by the locale of the process, and IDNA turns look-alikes into dots.
    given.refuse("holds a host name that is not ASCII",
                 "Write the host in its ASCII form (punycode), which begins with xn--. " + given.how_to_set());
  }
  // RFC 3986 allows a percent-encoded host, but a person cannot see where it leads. An IPv6 zone keeps its %25.
  if (pieces.authority.front() != '[' && pieces.authority.find('%') != std::string_view::npos) {
    given.refuse("holds a percent sign in its host name");
  }
  return pieces;
}

std::string encoded_prefix(const GivenAddress& given, std::string_view path) {
  if (path.empty()) return "";
  try {
    core::check_endpoint_path(path);
  } catch (const core::Error& error) {
    const std::size_t colon = error.message().find("\": ");
    const std::string rule = colon == std::string::npos ? "it is no path" : error.message().substr(colon + 3);
    given.refuse("holds a path that cannot be a prefix: " + rule, error.hint());
  }
  return core::encode_endpoint_path(path);
}

// The text between "://" and the path.
std::string_view authority_of(std::string_view url) {
  const std::size_t slashes = url.find("://");
  if (slashes == std::string_view::npos) return {};
  url.remove_prefix(slashes + 3);
  return url.substr(0, url.find_first_of("/?#\\"));
}

bool valid_port(const std::string& port) { return !port.empty() && port != "0"; }

}  // namespace

ApiUrl parse_api_url(std::string_view api_url, std::string_view allow_plain_http, const core::AddressWords& words) {
  const GivenAddress given{api_url, words};
  check_text(given);
  const Pieces pieces = cut(given);
  const std::string prefix = encoded_prefix(given, pieces.path);
  const UrlParts parts = parse(pieces.scheme + "://" + std::string(pieces.authority) + prefix);
  if (parts.error != CURLUE_OK) {
    given.refuse("is no URL that libcurl accepts (" + std::string(curl_url_strerror(parts.error)) + ")");
  }
  ApiUrl result{parts.get(CURLUPART_SCHEME), parts.get(CURLUPART_HOST), parts.port(), parts.get(CURLUPART_URL)};
  // libcurl accepts "host:" and similar mistakes. Whatever it found must be what the text plainly says.
  if (result.scheme != pieces.scheme || result.host.empty()) given.refuse("names no host");
  if (!valid_port(result.port)) given.refuse("names a port that does not exist");
  while (!result.text.empty() && result.text.back() == '/') result.text.pop_back();
  if (result.scheme == "http" && !core::is_private_host(result.host) &&
      !core::plain_http_allowed(allow_plain_http, result.host)) {
    given.refuse("would send the bearer secret in clear text over a public network",
                 "Use https: " + words.set_api_url("'https://...'") +
                     ". If the network to this host is private all the same, name the host: ALTER SYSTEM SET "
                     "wee5_cron.allow_plain_http = " +
                     core::sql_literal(result.host) + "; SELECT pg_reload_conf();");
  }
  return result;
}

bool same_origin(std::string_view one, std::string_view other) {
  try {
    const ApiUrl a = parse_api_url(one, "on");
    const ApiUrl b = parse_api_url(other, "on");
    return a.scheme == b.scheme && core::equals_ignoring_case(a.host, b.host) && a.port == b.port;
  } catch (const core::Error&) {
    return false;
  }
}

std::string join_url(const ApiUrl& api_url, std::string_view endpoint_path, const core::AddressWords& words) {
  std::string url = api_url.text + core::encode_endpoint_path(endpoint_path);
  const UrlParts parts = parse(url);
  // Plain concatenation of "@evil.example/x", ".evil.example/x" or ":8443/x" would carry the bearer elsewhere. The text
  // is compared, too: libcurl 8.21 and newer reads the host of "http://10.0.0.1." as 10.0.0.1.
  const bool stays = authority_of(url) == authority_of(api_url.text) && parts.error == CURLUE_OK &&
                     parts.get(CURLUPART_SCHEME) == api_url.scheme && parts.get(CURLUPART_HOST) == api_url.host &&
                     parts.port() == api_url.port && parts.get(CURLUPART_USER).empty() &&
                     parts.get(CURLUPART_PASSWORD).empty();
  if (!stays) {
    throw core::Error(
        core::ErrorKind::kInvalidValue,
        "invalid endpoint path \"" + core::printable(endpoint_path) + "\": it would change where the call goes",
        "Start it with one slash, such as '/api/cron/poll-activities'; scheme, host and port come from " +
            words.api_url() + ".");
  }
  return url;
}

const std::string& UrlJoiner::join(std::string_view api_url, std::string_view allow_plain_http,
                                   std::string_view endpoint_path, std::string_view target) {
  const core::AddressWords words(target);
  if (text_.empty() || text_ != api_url || allow_plain_http_ != allow_plain_http) {
    text_.clear();
    url_.clear();
    api_url_ = parse_api_url(api_url, allow_plain_http, words);
    text_ = api_url;
    allow_plain_http_ = allow_plain_http;
  }
  if (url_.empty() || endpoint_path_ != endpoint_path) {
    url_.clear();
    endpoint_path_ = endpoint_path;
    url_ = join_url(api_url_, endpoint_path, words);
  }
  return url_;
}

namespace {

[[noreturn]] void refuse_webhook(const std::string& rule) {
  throw core::Error(
      core::ErrorKind::kNotReady, "wee5_cron.alert_url " + rule,
      "Give the webhook's whole address: ALTER SYSTEM SET wee5_cron.alert_url = 'https://hooks.example.com/...'; "
      "SELECT pg_reload_conf();");
}

// The origin, checked by the rules of an api_url. An error names the rule alone: if the text is no URL, any part of it
// may be the secret.
ApiUrl parse_webhook_origin(std::string_view origin, std::string_view allow_plain_http) {
  std::string rule;
  try {
    return parse_api_url(origin, allow_plain_http);
  } catch (const core::Error& error) {
    const std::size_t quoted = error.message().rfind("\" ");
    rule = quoted == std::string::npos ? "is no address" : error.message().substr(quoted + 2);
  }
  refuse_webhook(rule);
}

void check_behind_origin(std::string_view behind) {
  if (!std::all_of(behind.begin(), behind.end(), fits_in_url)) {
    refuse_webhook("holds a blank, a control character or one that is not ASCII");
  }
  if (behind.find_first_of("#\\") != std::string_view::npos) refuse_webhook("holds a '#' or a backslash");
  if (behind.starts_with('?')) refuse_webhook("has no path before its query");
}

}  // namespace

Webhook parse_webhook(std::string_view url, std::string_view allow_plain_http) {
  constexpr std::size_t kLeastSecret = 8;
  url = without_blanks_around(url);
  if (url.empty()) refuse_webhook("is not set");
  const std::size_t slashes = url.find("://");
  const std::size_t path = slashes == std::string_view::npos ? slashes : url.find_first_of("/?#", slashes + 3);
  const std::string_view behind = path == std::string_view::npos ? std::string_view() : url.substr(path);
  check_behind_origin(behind);
  const ApiUrl origin = parse_webhook_origin(url.substr(0, path), allow_plain_http);
  Webhook webhook{origin.text + std::string(behind.empty() ? "/" : behind), origin.text, ""};
  const UrlParts parts = parse(webhook.url);
  if (parts.error != CURLUE_OK || parts.get(CURLUPART_SCHEME) != origin.scheme ||
      parts.get(CURLUPART_HOST) != origin.host || parts.port() != origin.port || !parts.get(CURLUPART_USER).empty()) {
    refuse_webhook("is no URL that libcurl accepts");
  }
  if (behind.size() > kLeastSecret) webhook.secret = behind.substr(1);
  return webhook;
}

namespace {

[[noreturn]] void refuse_proxy(const char* rule) {
  throw core::Error(core::ErrorKind::kInvalidValue, rule,
                    "Name it as in 'http://proxy.example.com:3128', or 'http://user:password@proxy:3128'.");
}

bool is_more_than_an_origin(const UrlParts& parts) {
  const std::string path = parts.get(CURLUPART_PATH);
  return (!path.empty() && path != "/") || !parts.get(CURLUPART_QUERY).empty() ||
         !parts.get(CURLUPART_FRAGMENT).empty();
}

}  // namespace

Proxy parse_proxy(std::string_view text) {
  text = without_blanks_around(text);
  if (text.empty()) return {};
  if (!std::all_of(text.begin(), text.end(), fits_in_url)) {
    refuse_proxy("It holds a blank, a control character or one that is not ASCII.");
  }
  std::string url(text);
  if (url.find("://") == std::string::npos) url.insert(0, "http://");
  const UrlParts parts = parse(url);
  if (parts.error != CURLUE_OK) refuse_proxy("It is no address that libcurl accepts.");
  if (parts.get(CURLUPART_SCHEME) != "http") refuse_proxy("Only http:// proxies can be used.");
  if (is_more_than_an_origin(parts)) refuse_proxy("It holds more than a host and a port.");
  Proxy proxy{parts.get(CURLUPART_HOST), parts.get(CURLUPART_PORT), parts.get(CURLUPART_USER, CURLU_URLDECODE),
              parts.get(CURLUPART_PASSWORD, CURLU_URLDECODE)};
  if (proxy.host.empty()) refuse_proxy("It names no host.");
  if (proxy.port.empty()) proxy.port = "3128";
  if (!valid_port(proxy.port)) refuse_proxy("It names a port that does not exist.");
  return proxy;
}

}  // namespace wee5::delivery
