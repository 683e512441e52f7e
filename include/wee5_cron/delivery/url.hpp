#pragma once

#include <string>
#include <string_view>

namespace wee5::delivery {

// The app's origin, checked: http or https, a host, no user info, query or fragment, plain http only to private
// hosts and those that `allow_plain_http`, the setting of that name, names. libcurl's parser decides what the text
// means, since libcurl will make the call. Throws core::Error{kNotReady} that names the value and the way out.
// `api_url` UTF-8, without blanks around it.
struct ApiUrl {
  std::string scheme;  // "http" or "https"
  std::string host;    // as libcurl normalises it; IPv6 in brackets
  std::string port;    // always given, 80 or 443 where the text has none
  std::string text;    // normalised, without a slash at the end
};
ApiUrl parse_api_url(std::string_view api_url, std::string_view allow_plain_http);

// The URL of one call: `endpoint_path` (checked by core::check_endpoint_path) under the api_url's prefix. Whatever the
// path says, scheme, host and port are still api_url's afterwards, else core::Error{kInvalidValue}.
std::string join_url(const ApiUrl& api_url, std::string_view endpoint_path);

// Both in one, for callers that make many calls: what the text of api_url means is found out once, until it changes.
class UrlJoiner {
 public:
  std::string join(std::string_view api_url, std::string_view allow_plain_http, std::string_view endpoint_path);

 private:
  std::string text_;  // what api_url_ was made of; empty: nothing yet
  std::string allow_plain_http_;
  ApiUrl api_url_;
};

// The webhook that alerts are posted to, checked by the same rules, with a path and a query. Whoever knows the URL may
// post there: no message shows more of it than the origin.
struct Webhook {
  std::string url;
  std::string origin;
  std::string secret;  // what stands behind the origin; empty where that is too little to be one
};
Webhook parse_webhook(std::string_view url, std::string_view allow_plain_http);

}  // namespace wee5::delivery
