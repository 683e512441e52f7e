// Feeds any address of an app and any path of a caller. The bearer must only ever go to the host in api_url.
// Input: a line with the api_url, the rest is the path, perhaps of a target.

#include <curl/curl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "promise.hpp"
#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/core/text/text.hpp"
#include "wee5_cron/delivery/address/url.hpp"

namespace {

using wee5::fuzz::take_line;

struct UrlCleanup {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
};

std::string part_of(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return "";
  std::string copy(text);
  curl_free(text);
  return copy;
}

// How libcurl reads the URL when it calls it.
void is_where_api_url_says(const std::string& url, const wee5::delivery::ApiUrl& api_url) {
  const std::unique_ptr<CURLU, UrlCleanup> parsed(curl_url());
  WEE5_PROMISE(curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) == CURLUE_OK);
  WEE5_PROMISE(part_of(parsed.get(), CURLUPART_SCHEME) == api_url.scheme);
  WEE5_PROMISE(part_of(parsed.get(), CURLUPART_HOST) == api_url.host);
  WEE5_PROMISE(part_of(parsed.get(), CURLUPART_PORT) == api_url.port);
  WEE5_PROMISE(part_of(parsed.get(), CURLUPART_USER).empty());
  WEE5_PROMISE(part_of(parsed.get(), CURLUPART_PASSWORD).empty());
  WEE5_PROMISE(part_of(parsed.get(), CURLUPART_FRAGMENT).empty());
}

void is_an_error_for_people(const wee5::core::Error& error) {
  WEE5_PROMISE(!error.message().empty());
  WEE5_PROMISE(wee5::core::valid_utf8(error.message()) == error.message());
  WEE5_PROMISE(error.message().find('\n') == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string api_text(take_line(input));
  const std::string endpoint_path(input);
  try {
    wee5::core::check_endpoint_path(endpoint_path);
    WEE5_PROMISE(endpoint_path.size() <= wee5::core::kMaxEndpointPathBytes);
    const auto [target, path] = wee5::core::split_target(endpoint_path);
    WEE5_PROMISE(target.empty() || wee5::core::is_target_name(target));
    WEE5_PROMISE(path.starts_with('/') && !path.starts_with("//"));
    const std::string encoded = wee5::core::encode_endpoint_path(path);
    for (const char c : encoded) WEE5_PROMISE(c > ' ' && c < '\x7f');
    // Encoding it a second time changes nothing.
    WEE5_PROMISE(wee5::core::encode_endpoint_path(encoded) == encoded);
    const wee5::delivery::ApiUrl api_url = wee5::delivery::parse_api_url(api_text, "on");
    const std::string url = wee5::delivery::join_url(api_url, path);
    WEE5_PROMISE(url.starts_with(api_url.scheme + "://" + api_url.host));
    is_where_api_url_says(url, api_url);
  } catch (const wee5::core::Error& error) {
    is_an_error_for_people(error);
  }
  return 0;
}
