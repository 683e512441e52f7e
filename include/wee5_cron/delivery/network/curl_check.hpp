#pragma once

#include <curl/curl.h>

#include <stdexcept>
#include <string>

#if defined(LIBCURL_VERSION_NUM) && LIBCURL_VERSION_NUM < 0x075700
#error "wee5_cron needs libcurl 7.87 or newer"
#endif

// Turns a failed call of libcurl into an exception that names the call. These calls fail only if memory runs out, or if
// this libcurl was built without an option. Never throw through libcurl's own frames.
namespace wee5::delivery {

class CurlError : public std::runtime_error {
 public:
  CurlError(const char* call, const char* words) : std::runtime_error(std::string(call) + ": " + words) {}
};

inline void check(CURLcode code, const char* call) {
  if (code != CURLE_OK) throw CurlError(call, curl_easy_strerror(code));
}

inline void check(CURLMcode code, const char* call) {
  if (code != CURLM_OK) throw CurlError(call, curl_multi_strerror(code));
}

template <class Value>
void set_option(CURL* easy, CURLoption option, Value value, const char* name) {
  check(curl_easy_setopt(easy, option, value), name);
}

template <class Value>
void set_option(CURLM* multi, CURLMoption option, Value value, const char* name) {
  check(curl_multi_setopt(multi, option, value), name);
}

#define WEE5_SET_OPTION(handle, option, value) ::wee5::delivery::set_option(handle, option, value, #option)

}  // namespace wee5::delivery
