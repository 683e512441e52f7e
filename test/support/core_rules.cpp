// Answers questions by the library's rules, so that a test can ask the PL/pgSQL twins the same ones. A question is a
// line: the name of the rule and its arguments, tabs between them, each argument in hexadecimal digits. An answer is a
// line of the same kind: "=" and the results, where "-" is none, or "!" and the SQLSTATE, message and hint of an error.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "wee5_cron/core/jobs/cron_schedule.hpp"
#include "wee5_cron/core/jobs/job_command.hpp"
#include "wee5_cron/core/outcome/decision.hpp"
#include "wee5_cron/core/outcome/outcome.hpp"
#include "wee5_cron/core/outcome/pg_net_answer.hpp"
#include "wee5_cron/core/outcome/retry_policy.hpp"
#include "wee5_cron/core/request/alert_receiver.hpp"
#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/request/host_rules.hpp"
#include "wee5_cron/core/request/occurrence.hpp"
#include "wee5_cron/core/request/previous_secret.hpp"
#include "wee5_cron/core/request/request_headers.hpp"
#include "wee5_cron/core/request/settings.hpp"
#include "wee5_cron/core/request/targets.hpp"
#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/core/text/redact.hpp"
#include "wee5_cron/core/text/text.hpp"
#include "wee5_cron/delivery/address/url.hpp"

namespace {

using Arguments = std::vector<std::string>;
using Results = std::vector<std::optional<std::string>>;

std::string hex_of(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) wee5::core::append_hex(out, static_cast<unsigned char>(byte));
  return out;
}

std::string bytes_of(std::string_view hex) {
  std::string out;
  for (std::size_t at = 0; at + 1 < hex.size(); at += 2) {
    out += static_cast<char>(static_cast<unsigned char>(wee5::core::hex_pair(hex, at)));
  }
  return out;
}

std::optional<std::string> unless_empty(std::string text) {
  return text.empty() ? std::nullopt : std::optional(std::move(text));
}
std::string text_of(bool value) { return value ? "t" : "f"; }
std::string text_of(std::int64_t value) { return std::to_string(value); }
std::optional<std::string> text_of(const std::optional<std::int64_t>& value) {
  return value ? std::optional(std::to_string(*value)) : std::nullopt;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

Results ask_api_url(const Arguments& a) {
  const wee5::delivery::ApiUrl url = wee5::delivery::parse_api_url(a[0], a[1]);
  return {url.scheme, url.host, url.port, url.text};
}

Results ask_join_url(const Arguments& a) {
  return {wee5::delivery::join_url(wee5::delivery::parse_api_url(a[0], a[1]), a[2])};
}

Results ask_webhook(const Arguments& a) {
  const wee5::delivery::Webhook webhook = wee5::delivery::parse_webhook(a[0], a[1]);
  const std::string host = wee5::delivery::parse_api_url(webhook.origin, a[1]).host;
  return {webhook.url, webhook.origin, webhook.secret,
          std::string(wee5::core::alert_receiver_name(wee5::core::alert_receiver_of(host)))};
}

Results ask_previous_secret(const Arguments& a) {
  const auto previous = wee5::core::read_previous_secret(a[0]);
  if (!previous) return {unless_empty(wee5::core::secret_of_document(a[0])), std::nullopt};
  return {wee5::core::secret_of_document(a[0]),
          previous->secret,
          previous->api_url,
          text_of(previous->until_us),
          wee5::core::previous_secret_hint(previous->until_us),
          wee5::core::write_previous_secret({previous->secret, previous->api_url, previous->until_us})};
}

wee5::core::Targets targets_of(const std::string& document) {
  wee5::core::SettingCandidates candidates;
  candidates.vault = document;
  return wee5::core::Targets(candidates);
}

// document, name. Headers in the order of their names.
Results ask_target(const Arguments& a) {
  const auto found = targets_of(a[0]).find(a[1]);
  if (!found) return {"none"};
  const wee5::core::Target& target = found->first;
  std::vector<std::string> headers;
  for (const auto& header : target.headers.further) headers.push_back(header.name + ": " + header.value + "\n");
  std::sort(headers.begin(), headers.end());
  Results results = {unless_empty(target.api_url), unless_empty(target.secret), target.headers.header,
                     target.headers.prefix};
  if (target.previous) results.emplace_back(target.previous->secret + " " + text_of(target.previous->until_us));
  for (std::string& header : headers) results.emplace_back(std::move(header));
  return results;
}

Results ask_target_secrets(const Arguments& a) {
  std::set<std::string> secrets;
  for (std::string& secret : targets_of(a[0]).secrets()) secrets.insert(std::move(secret));
  return {secrets.begin(), secrets.end()};
}

// api_url, allow_plain_http, endpoint_path, target
Results ask_url_of_target(const Arguments& a) { return {wee5::delivery::UrlJoiner().join(a[0], a[1], a[2], a[3])}; }

// the secret that is replaced, the new one, their addresses, keep_previous
Results ask_rotation(const Arguments& a) {
  const bool same = wee5::delivery::same_origin(a[2], a[3]);
  switch (wee5::core::rotation_step(a[0], a[1], same, a[4] == "t")) {
    case wee5::core::RotationStep::kLeave:
      return {"leave"};
    case wee5::core::RotationStep::kRemove:
      return {"remove"};
    case wee5::core::RotationStep::kReplace:
      return {"replace"};
  }
  return {};
}

// secret, id, attempt, key, job, tick, body, timeout, trace
wee5::core::RequestIdentity identity_of(const Arguments& a) {
  wee5::core::RequestIdentity identity;
  identity.invocation_id = std::stoll(a[1]);
  identity.attempt = std::stoi(a[2]);
  identity.idempotency_key = a[3];
  identity.job_name = a[4];
  identity.scheduled_at = a[5];
  identity.has_body = a[6] == "t";
  identity.timeout_ms = std::stoll(a[7]);
  identity.trace = a[8] == "on"          ? wee5::core::Trace::kOn
                   : a[8] == "unsampled" ? wee5::core::Trace::kUnsampled
                                         : wee5::core::Trace::kOff;
  return identity;
}

// Names and values, from one argument to another.
std::vector<wee5::core::Header> headers_from(const Arguments& a, std::size_t at, std::size_t end) {
  std::vector<wee5::core::Header> headers;
  for (; at + 1 < end; at += 2) headers.push_back({a[at], a[at + 1]});
  return headers;
}

// secret, then names and values of further headers
Results ask_request_secrets(const Arguments& a) {
  std::set<std::string> secrets;
  for (std::string& secret : wee5::core::secrets_of_request(a[0], headers_from(a, 1, a.size())))
    secrets.insert(std::move(secret));
  return {secrets.begin(), secrets.end()};
}

// What identity_of() reads, then further headers.
Results ask_headers(const Arguments& a) {
  std::map<std::string, std::string> headers;
  for (const wee5::core::Header& header :
       wee5::core::request_headers(a[0], identity_of(a), headers_from(a, 9, a.size()))) {
    headers[header.name] = header.value;
  }
  Results results;
  for (const auto& [name, value] : headers) results.emplace_back(std::string(name).append(": ").append(value));
  return results;
}

// What identity_of() reads, the header and the prefix of the secret, the number of further secret headers, those, and
// the headers of the call.
Results ask_request_headers(const Arguments& a) {
  const std::size_t custom = 12 + 2 * std::stoul(a[11]);
  std::vector<std::string> lines;
  for (const wee5::core::Header& header : wee5::core::request_headers(
           a[0], identity_of(a), headers_from(a, custom, a.size()), {a[9], a[10], headers_from(a, 12, custom)})) {
    lines.push_back(header.name + ": " + header.value);
  }
  std::sort(lines.begin(), lines.end());
  return {lines.begin(), lines.end()};
}

Results ask_occurrence(const Arguments& a) {
  wee5::core::Occurrence occurrence;
  occurrence.arming_id = a[0];
  occurrence.job_owner = a[1];
  occurrence.job_name = a[2];
  occurrence.scheduled_at = std::stoll(a[3]);
  occurrence.method = a[4];
  occurrence.endpoint_path = a[5];
  occurrence.body = a[6];
  return {wee5::core::uuid_text(wee5::core::occurrence_key(occurrence, std::stoll(a[7])))};
}

// attempts, words, delays and window of a policy, from `at` on.
wee5::core::RetryPolicy policy_of(const Arguments& a, std::size_t at) {
  wee5::core::RetryPolicy policy;
  policy.max_attempts = std::stoi(a[at]);
  policy.retry_on = wee5::core::parse_retry_on(a[at + 1]).value_or(policy.retry_on);
  policy.delays_ms.clear();
  for (const std::string& delay : split(a[at + 2], ',')) policy.delays_ms.push_back(std::stoll(delay));
  policy.window_ms = std::stoll(a[at + 3]);
  return policy;
}

Results ask_next_attempt(const Arguments& a) {
  wee5::core::FailedAttempt failed;
  failed.attempt = std::stoi(a[4]);
  failed.reason = wee5::core::parse_reason(a[5]);
  failed.http_status = std::stoi(a[6]);
  failed.retry_after = a[7];
  failed.first_begun_us = std::stoll(a[8]);
  failed.ended_us = std::stoll(a[9]);
  return {text_of(wee5::core::next_attempt_us(policy_of(a, 0), failed, std::stod(a[10])))};
}

Results ask_may_begin(const Arguments& a) {
  wee5::core::DueAttempt due;
  due.attempt = std::stoi(a[4]);
  due.first_begun_us = std::stoll(a[5]);
  return {text_of(wee5::core::may_begin(due, policy_of(a, 0), std::stoll(a[6])) == wee5::core::Begin::kNow)};
}

// What pg_net answered: lost, status, timed out, whether there is an error and which, content type, body; the call:
// path, URL, method, timeout, attempt, first begun, may retry; the policy; now, random, most bytes; secrets with spaces
// between them; how long the app may work; then names and values of the answer's headers.
Results ask_pg_net(const Arguments& a) {
  wee5::core::PgNetAnswer answer;
  answer.lost = a[0] == "t";
  answer.http_status = std::stoi(a[1]);
  answer.timed_out = a[2] == "t";
  answer.failed = a[3] == "t";
  answer.error_msg = a[4];
  answer.content_type = a[5];
  wee5::core::PgNetCall call;
  call.max_response_bytes = std::stoul(a[20]);
  answer.content = std::string_view(a[6]).substr(0, call.max_response_bytes + wee5::core::kSecretMargin);
  answer.content_bytes = a[6].size();
  call.endpoint_path = a[7];
  call.url = a[8];
  call.method = a[9];
  call.timeout_ms = std::stoll(a[10]);
  call.attempt = std::stoi(a[11]);
  call.first_begun_us = std::stoll(a[12]);
  call.may_retry = a[13] == "t";
  if (!a[21].empty()) call.secrets = split(a[21], ' ');
  wee5::core::RetryPolicy policy = policy_of(a, 14);
  policy.complete_within_ms = std::stoll(a[22]);
  for (std::size_t i = 23; i + 1 < a.size(); i += 2) answer.headers.emplace_back(a[i], a[i + 1]);
  const wee5::core::PgNetOutcome outcome =
      wee5::core::decide(answer, call, policy, std::stoll(a[18]), std::stod(a[19]));
  return {std::string(wee5::core::status_name(outcome.decision.status)),
          unless_empty(wee5::core::reason_name(outcome.explanation.reason)),
          unless_empty(outcome.explanation.error),
          unless_empty(outcome.explanation.hint),
          outcome.decision.next_attempt_us == 0 ? std::nullopt
                                                : std::optional(std::to_string(outcome.decision.next_attempt_us)),
          unless_empty(outcome.content_type),
          outcome.body,
          text_of(outcome.truncated)};
}

Results ask_schedule(const Arguments& a) {
  const auto schedule = wee5::core::CronSchedule::parse(a[0], {a[1] == "t", a[2] == "t"});
  if (!schedule) return {std::nullopt};
  const std::int64_t at = std::stoll(a[3]);
  return {text_of(std::int64_t{schedule->interval_seconds()}), text_of(schedule->at_reboot()),
          text_of(schedule->newest_at_or_before(at, wee5::core::utc_clock)),
          text_of(schedule->next_after(at, wee5::core::utc_clock))};
}

Results ask_job_command(const Arguments& a) {
  const wee5::core::JobCommand command = wee5::core::read_job_command(a[0], a[1]);
  std::string functions;
  for (const wee5::core::JobFunction function : command.functions) {
    functions += (functions.empty() ? "" : ",") + std::string(wee5::core::name_of(function));
  }
  return {functions,
          command.endpoint_path,
          text_of(command.is_plain),
          text_of(command.harvests),
          command.other_schema,
          command.other_path};
}

Results passes(const std::function<void()>& check) {
  check();
  return {};
}

const std::map<std::string, std::function<Results(const Arguments&)>> kRules = {
    {"path", [](const Arguments& a) { return passes([&] { wee5::core::check_endpoint_path(a[0]); }); }},
    {"encoded_path", [](const Arguments& a) { return Results{wee5::core::encode_endpoint_path(a[0])}; }},
    {"api_url", ask_api_url},
    {"join_url", ask_join_url},
    {"webhook", ask_webhook},
    {"host",
     [](const Arguments& a) {
       return Results{text_of(wee5::core::is_private_host(a[0])), text_of(wee5::core::is_loopback_host(a[0]))};
     }},
    {"plain_http", [](const Arguments& a) { return Results{wee5::core::read_plain_http_rule(a[0])}; }},
    {"plain_http_host",
     [](const Arguments& a) { return Results{text_of(wee5::core::plain_http_allowed(a[0], a[1]))}; }},
    {"printable", [](const Arguments& a) { return Results{wee5::core::printable(a[0], std::stoul(a[1]))}; }},
    {"previous_secret", ask_previous_secret},
    {"rotation", ask_rotation},
    {"target", ask_target},
    {"target_secrets", ask_target_secrets},
    {"request_secrets", ask_request_secrets},
    {"url_of_target", ask_url_of_target},
    {"redact_all",
     [](const Arguments& a) {
       return Results{wee5::core::redact_all(a[0], {a[1], a[2], a[3]})};
     }},
    {"redact", [](const Arguments& a) { return Results{wee5::core::redact(a[0], a[1])}; }},
    {"secret", [](const Arguments& a) { return passes([&] { wee5::core::check_secret(a[0]); }); }},
    {"method",
     [](const Arguments& a) {
       const wee5::core::Method method = wee5::core::parse_method(a[0]);
       return Results{std::string(wee5::core::method_name(method)), text_of(wee5::core::takes_body(method)),
                      text_of(wee5::core::needs_body(method))};
     }},
    {"header", [](const Arguments& a) { return passes([&] { wee5::core::check_custom_header(a[0], a[1]); }); }},
    {"headers", ask_headers},
    {"request_headers", ask_request_headers},
    {"occurrence", ask_occurrence},
    {"retry_after",
     [](const Arguments& a) { return Results{text_of(wee5::core::retry_after_us(a[0], std::stoll(a[1])))}; }},
    {"next_attempt", ask_next_attempt},
    {"may_begin", ask_may_begin},
    {"pg_net", ask_pg_net},
    {"schedule", ask_schedule},
    {"job_command", ask_job_command},
};

const char* sqlstate_of(wee5::core::ErrorKind kind) {
  switch (kind) {
    case wee5::core::ErrorKind::kInvalidValue:
      return "22023";
    case wee5::core::ErrorKind::kNullValue:
      return "22004";
    case wee5::core::ErrorKind::kNotReady:
      return "55000";
  }
  return "XX000";
}

std::string answer_to(std::string_view question) {
  std::vector<std::string> fields = split(question, '\t');
  const std::string rule = fields[0];
  Arguments arguments;
  for (std::size_t i = 1; i < fields.size(); ++i) arguments.push_back(bytes_of(fields[i]));
  std::string answer = "=";
  try {
    for (const std::optional<std::string>& result : kRules.at(rule)(arguments)) {
      answer += "\t" + (result ? hex_of(*result) : "-");
    }
  } catch (const wee5::core::Error& error) {
    answer = "!\t" + hex_of(sqlstate_of(error.kind())) + "\t" + hex_of(error.message()) + "\t" + hex_of(error.hint());
  }
  return answer;
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) std::cout << answer_to(line) << '\n';
  return 0;
}
