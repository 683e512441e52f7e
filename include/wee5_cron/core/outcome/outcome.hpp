#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "wee5_cron/core/outcome/cache_signs.hpp"

namespace wee5::core {

// Why a call did not succeed; the values of the ledger's column `reason`.
enum class Reason {
  kNone,
  kConfig,
  kDns,
  kConnect,
  kTls,
  kTimeout,
  kHttp,
  kRedirect,
  kResponse,
  kLost,
  kIncomplete,
  kOverlap,
  kCancelled
};
const char* reason_name(Reason reason) noexcept;      // "" for kNone
Reason parse_reason(std::string_view name) noexcept;  // kNone for any other text

// What a transport saw of one attempt. `reason` is what the transport itself can tell: kNone if an answer came, and
// http_status counts; else kDns, kConnect, kTls, kTimeout, kResponse, kLost, kIncomplete, kConfig, kOverlap or
// kCancelled.
struct Observation {
  Reason reason = Reason::kNone;
  int http_status = 0;
  std::string url;            // as called
  std::string endpoint_path;  // as the caller gave it
  std::string method;         // empty: not known
  std::string proxy;          // "host:port" of the proxy that it went through; empty: none
  std::string content_type;
  std::string location;  // of a 3xx
  std::string detail;    // the transport's own words ("Connection refused"), may be empty; kOverlap: the other's id
  std::int64_t timeout_ms = 0;
  CacheSigns cache_signs;  // of the answer
  bool accepted = false;   // the answer says that the app works on: says_accepted()
};

// What the ledger says about it. `error` is one plain sentence, empty on success. `hint` says what to do, in SQL where
// SQL helps. Text from the network never enters SQL unquoted. A hint proposes a new api_url only for the same host with
// or without "www.", or for https. A success has a hint if it looks wrong: a cache answered, or an HTML page came.
struct Explanation {
  bool succeeded = false;  // 2xx, nothing else
  bool accepted = false;   // 202 by an app that works on, and will call complete(): neither a success nor a failure yet
  Reason reason = Reason::kNone;
  std::string error;
  std::string hint;
};
Explanation explain(const Observation& observation);

// Whether a header line, "Name: value", is `Wee5-Cron: accepted`.
bool says_accepted(std::string_view header_line) noexcept;

// An HTML page by its content type, where a cron route answers JSON.
bool is_html(std::string_view content_type) noexcept;

}  // namespace wee5::core
