#include "transfer_result.hpp"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include "wee5_cron/core/text/redact.hpp"
#include "wee5_cron/core/text/text.hpp"
#include "wee5_cron/delivery/engine/unix_clock.hpp"

namespace wee5::delivery {
namespace {

using core::Reason;

constexpr std::size_t kMaxContentTypeBytes = 200;
constexpr std::string_view kMayHaveRun = "the connection was closed before the app answered; it may have run";

curl_off_t time_of(const Transfer& transfer, CURLINFO info) {
  curl_off_t microseconds = 0;
  curl_easy_getinfo(transfer.easy(), info, &microseconds);
  return microseconds;
}

long number_of(const Transfer& transfer, CURLINFO info) {
  long number = 0;
  curl_easy_getinfo(transfer.easy(), info, &number);
  return number;
}

std::string text_of(const Transfer& transfer, CURLINFO info) {
  const char* text = nullptr;
  curl_easy_getinfo(transfer.easy(), info, &text);
  return text != nullptr ? text : "";
}

bool is_tls(const Transfer& transfer) { return transfer.request.url.starts_with("https"); }

// Whether no byte of the request left, or the server said that it did not process the request.
bool unsent(const Transfer& transfer) { return transfer.sendings == 0 || transfer.refused; }

// libcurl's message; if there is none, its general text for the code.
std::string words(CURLcode code, const Transfer& transfer) {
  return transfer.error_text[0] != '\0' ? transfer.error_text.data() : curl_easy_strerror(code);
}

// The phase that a connection is in. libcurl's time of a phase is 0 until the phase is complete.
Reason connecting_phase(const Transfer& transfer) {
  if (transfer.handshaking) return Reason::kTls;
  if (transfer.request.proxy.is_set()) return Reason::kConnect;
  return time_of(transfer, CURLINFO_NAMELOOKUP_TIME_T) == 0 ? Reason::kDns : Reason::kConnect;
}

Ending unsent_ending(CURLcode code, const Transfer& transfer) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
      return {Reason::kConnect, words(code, transfer)};
    case CURLE_COULDNT_RESOLVE_HOST:
      // With a proxy, the proxy looks up the app's name.
      return {transfer.request.proxy.is_set() ? Reason::kConnect : Reason::kDns, words(code, transfer)};
    case CURLE_COULDNT_CONNECT:
    case CURLE_INTERFACE_FAILED:
      return {Reason::kConnect, words(code, transfer)};
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_USE_SSL_FAILED:
      return {Reason::kTls, words(code, transfer)};
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_LOGIN_DENIED:  // a user name in the URL
    case CURLE_NOT_BUILT_IN:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNKNOWN_OPTION:
      return {Reason::kConfig, words(code, transfer)};
    case CURLE_OPERATION_TIMEDOUT:
      return ending_at_deadline(transfer);
    default: {
      // The connection could not be made: a reset during the handshake, no memory, no descriptor.
      const bool in_handshake = transfer.handshaking && !transfer.refused;
      return {in_handshake ? Reason::kTls : Reason::kConnect, words(code, transfer)};
    }
  }
}

// Strikes the secrets out of a text of the app or of libcurl.
void strike_secrets(std::string& text, const std::vector<std::string>& secrets) {
  if (!text.empty()) text = core::redact_all(text, secrets);
}

std::string milliseconds(std::int64_t count) { return std::to_string(count) + " ms"; }

float length_ms(curl_off_t from, curl_off_t until) { return static_cast<float>(until - from) / 1000.0F; }

// libcurl counts each phase from the beginning of the transfer. A phase that was not reached is 0; on a reused
// connection, a phase has the time of the one before.
Timings timings_of(const Transfer& transfer) {
  Timings timings;
  const curl_off_t lookup = time_of(transfer, CURLINFO_NAMELOOKUP_TIME_T);
  curl_off_t connect = time_of(transfer, CURLINFO_CONNECT_TIME_T);
  if (connect == 0 && transfer.handshaking) {
    connect =
        std::chrono::duration_cast<std::chrono::microseconds>(transfer.handshake_begun - transfer.started).count();
  }
  const curl_off_t handshake = time_of(transfer, CURLINFO_APPCONNECT_TIME_T);
  const bool reused = transfer.sendings > 0 && number_of(transfer, CURLINFO_NUM_CONNECTS) == 0;
  if (!reused) {
    if (lookup > 0) timings.dns_ms = length_ms(0, lookup);
    if (connect > lookup) timings.connect_ms = length_ms(lookup, connect);
    if (handshake > connect && is_tls(transfer)) timings.tls_ms = length_ms(connect, handshake);
  }
  const curl_off_t sent = time_of(transfer, CURLINFO_PRETRANSFER_TIME_T);
  const curl_off_t first_byte = time_of(transfer, CURLINFO_STARTTRANSFER_TIME_T);
  if (transfer.header_bytes > 0 && first_byte >= sent) timings.first_byte_ms = length_ms(sent, first_byte);
  const auto total = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - transfer.started);
  timings.total_ms = length_ms(0, total.count());
  return timings;
}

// The answer, as far as it came.
void take_answer(Transfer& transfer, Result& result) {
  result.http_status = static_cast<int>(number_of(transfer, CURLINFO_RESPONSE_CODE));
  // 1xx only announces an answer. libcurl 7.88 reads a status of seven digits from "HTTP/20212021".
  const bool is_answer = (result.http_status >= 200 && result.http_status <= 999) || result.http_status == 101;
  if (!is_answer) result.http_status = 0;
  if (transfer.header_bytes == 0) return;
  const std::vector<std::string>& secrets = transfer.request.secrets;
  const std::string content_type = text_of(transfer, CURLINFO_CONTENT_TYPE);
  result.response_content_type = core::valid_utf8(content_type);
  strike_secrets(result.response_content_type, secrets);
  if (result.response_content_type.size() > kMaxContentTypeBytes) {
    result.response_content_type = core::shorten(result.response_content_type, kMaxContentTypeBytes);
  }
  const std::size_t most = transfer.request.max_response_bytes;
  result.response_truncated = transfer.body_bytes > most;
  // Strike the secrets out first, then cut: half a secret would not be found.
  const bool was_read = transfer.body_bytes <= transfer.body.size();
  strike_secrets(transfer.body, secrets);
  if (!was_read) core::drop_margin(transfer.body, transfer.secret_margin());
  if (result.response_truncated && transfer.body.size() > most) transfer.body.resize(most);
  result.response_body = core::valid_utf8(transfer.body, result.response_truncated);
}

// Header lines that only the explanation needs.
struct HeaderFindings {
  std::string location;  // of a redirect
  core::CacheSigns cache_signs;
  bool accepted = false;
};

void explain(Request& request, Ending ending, HeaderFindings found, Result& result) {
  core::Observation observation;
  observation.reason = ending.reason;
  observation.http_status = result.http_status;
  observation.url = std::move(request.shown_url.empty() ? request.url : request.shown_url);
  observation.endpoint_path = std::move(request.endpoint_path);
  observation.method = core::method_name(request.method);
  observation.proxy = request.proxy.shown();
  observation.content_type = result.response_content_type;
  observation.location = std::move(found.location);
  observation.cache_signs = found.cache_signs;
  observation.accepted = found.accepted;
  observation.detail = std::move(ending.detail);
  observation.timeout_ms = request.timeout_ms;
  strike_secrets(observation.location, request.secrets);
  strike_secrets(observation.detail, request.secrets);
  // The texts from the network no longer hold a secret. Our own texts must not be redacted.
  result.outcome = core::explain(observation);
  result.url = std::move(observation.url);
}

}  // namespace

Ending ending_of(CURLcode code, const Transfer& transfer) {
  if (code == CURLE_OK && transfer.headers_complete) return {};
  if (code == CURLE_OK) return {Reason::kResponse, "the connection was closed within the header lines of the answer"};
  // The engine closed the connection because the body is too long. The app has answered.
  if (transfer.cut) return {};
  if (unsent(transfer)) return unsent_ending(code, transfer);
  if (transfer.sent_again) return {Reason::kResponse, std::string(kMayHaveRun)};
  if (transfer.out_of_memory) return {Reason::kResponse, "out of memory while reading the answer"};
  if (transfer.header_bytes > kMaxHeaderBytes) return {Reason::kResponse, "more than 256 kB of header lines"};
  if (transfer.sendings == 1 && number_of(transfer, CURLINFO_REQUEST_SIZE) == 0) {
    return {Reason::kConnect, words(code, transfer)};
  }
  // libcurl sent the request over a first connection and then failed to open a second one. The app may have run.
  const bool never_ready = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
                           code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION;
  if (never_ready) return {Reason::kResponse, std::string(kMayHaveRun)};
  if (code == CURLE_OPERATION_TIMEDOUT) return {Reason::kTimeout, words(code, transfer)};
  return {Reason::kResponse, words(code, transfer)};
}

Ending ending_at_deadline(const Transfer& transfer) {
  const Request& request = transfer.request;
  if (!unsent(transfer)) {
    if (transfer.header_bytes == 0) return {Reason::kTimeout, ""};
    return {Reason::kTimeout,
            "an answer had begun, " + std::to_string(transfer.body_bytes) + " bytes of its body came"};
  }
  const std::string within = milliseconds(std::min(request.connect_timeout_ms, request.timeout_ms));
  switch (connecting_phase(transfer)) {
    case Reason::kDns:
      return {Reason::kDns, "no answer from DNS within " + within};
    case Reason::kTls:
      return {Reason::kTls, "the TLS handshake timed out after " + within};
    default:
      return {Reason::kConnect, "the connection timed out after " + within};
  }
}

Result make_result(Transfer& transfer, Ending ending) {
  Result result;
  result.id = transfer.request.id;
  result.attempt = transfer.request.attempt;
  result.started_us = transfer.started_us;
  result.finished_us = std::max(unix_now_us(), transfer.started_us);
  result.timings = timings_of(transfer);
  HeaderFindings found;
  if (transfer.sendings > 0) {
    take_answer(transfer, result);
    if (transfer.headers_complete) {
      result.retry_after = transfer.retry_after.data();
      found.cache_signs = transfer.cache_signs;
      found.accepted = transfer.accepted;
    }
    const bool redirect = result.http_status >= 300 && result.http_status < 400;
    if (redirect) found.location = text_of(transfer, CURLINFO_REDIRECT_URL);
  }
  explain(transfer.request, std::move(ending), std::move(found), result);
  return result;
}

Result make_unsent_result(Request& request, Ending ending) {
  Result result;
  result.id = request.id;
  result.attempt = request.attempt;
  result.started_us = unix_now_us();
  result.finished_us = result.started_us;
  explain(request, std::move(ending), {}, result);
  return result;
}

}  // namespace wee5::delivery
