#pragma once

#include <string>
#include <string_view>

#include "wee5_cron/core/request/address_words.hpp"

namespace wee5::delivery {

// The app's origin. parse_api_url() checks it: http or https, a host, no user info, no query, no fragment, and plain
// http only to private hosts and those that the setting wee5_cron.allow_plain_http names. libcurl's parser decides what
// the text means, because libcurl will make the call. Throws core::Error{kNotReady} that names the value and what to
// do, in these words. `api_url` is UTF-8 without white space around it.
struct ApiUrl {
  std::string scheme;  // "http" or "https"
  std::string host;    // as libcurl normalizes it; IPv6 in brackets
  std::string port;    // 80 or 443 if the text has none
  std::string text;    // normalized, without a slash at the end
};
ApiUrl parse_api_url(std::string_view api_url, std::string_view allow_plain_http, const core::AddressWords& words = {});

// Whether both addresses have the same scheme, host and port. False if one of them is no usable address.
bool same_origin(std::string_view one, std::string_view other);

// The URL of a call: api_url with its path prefix, then `endpoint_path`, which core::check_endpoint_path() must have
// accepted. Throws core::Error{kInvalidValue} if scheme, host or port would no longer be those of api_url.
std::string join_url(const ApiUrl& api_url, std::string_view endpoint_path, const core::AddressWords& words = {});

// Both in one, for many calls: parses api_url, and the URL of a path, again only when they change. `target`: whose
// address it is; empty: the app's. The URL is valid until the next join().
class UrlJoiner {
 public:
  const std::string& join(std::string_view api_url, std::string_view allow_plain_http, std::string_view endpoint_path,
                          std::string_view target = {});

 private:
  std::string text_;  // what api_url_ was made of; empty: nothing yet
  std::string allow_plain_http_;
  ApiUrl api_url_;
  std::string endpoint_path_;  // of url_
  std::string url_;            // empty: nothing yet
};

// The webhook for alerts, checked by the same rules, with a path and a query. Everybody who knows the URL can post to
// it, so no message shows more of it than the origin.
struct Webhook {
  std::string url;
  std::string origin;
  std::string secret;  // the part behind the origin; empty if it is too short to be a secret
};
Webhook parse_webhook(std::string_view url, std::string_view allow_plain_http);

}  // namespace wee5::delivery
