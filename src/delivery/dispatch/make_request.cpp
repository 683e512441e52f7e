// Making the request of a call: the address, the secret and the headers that count at the moment it is sent.

#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/request/request_headers.hpp"
#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/delivery/address/url.hpp"
#include "wee5_cron/delivery/dispatch/dispatcher.hpp"
#include "wee5_cron/delivery/engine/unix_clock.hpp"

namespace wee5::delivery {

// An alert goes to a stranger, so it carries no bearer. The ledger shows only the origin of its address.
Request Dispatcher::make_alert(const DueCall& call) const {
  Webhook webhook = parse_webhook(settings_.alert_url, settings_.allow_plain_http);
  Request request;
  request.id = call.id;
  request.attempt = call.attempt;
  request.method = core::parse_method(call.method);
  request.url = std::move(webhook.url);
  request.shown_url = std::move(webhook.origin);
  request.secrets = {std::move(webhook.secret)};
  request.endpoint_path = call.endpoint_path;
  request.headers = core::alert_headers(call.idempotency_key);
  request.body = call.body;
  request.has_body = call.has_body;
  request.timeout_ms = settings_.request_timeout_ms;
  apply_connection_settings(request);
  return request;
}

void Dispatcher::apply_connection_settings(Request& request) const {
  request.connect_timeout_ms = settings_.connect_timeout_ms;
  request.max_response_bytes = settings_.max_response_bytes;
  request.ca_file = settings_.ca_file;
  request.proxy = settings_.proxy;
}

Request Dispatcher::make_request(const DueCall& call, Sending& sending) {
  if (call.endpoint_path == core::kAlertPath) return make_alert(call);
  const auto role = roles_.find(call.requested_by);
  if (role == roles_.end()) throw core::missing_setting("app.settings.api_url", {});
  const core::Destination to = role->second.destinations.find(call.endpoint_path);

  if (call.headers_unreadable) {
    throw core::Error(
        core::ErrorKind::kNotReady, "the row's headers are not a JSON object of strings",
        "Make the call again with wee5_cron.invoke(), which checks them: headers => '{\"X-Name\": \"value\"}'.");
  }

  core::RequestIdentity identity;
  identity.invocation_id = call.id;
  identity.attempt = call.attempt;
  identity.idempotency_key = call.idempotency_key;
  identity.job_name = call.job_name;
  identity.scheduled_at = call.scheduled_at;
  identity.trace = settings_.trace;

  Request request;
  request.id = call.id;
  request.attempt = call.attempt;
  request.method = core::parse_method(call.method);
  request.url = urls_.join(to.api_url, settings_.allow_plain_http, to.path, to.target);
  request.endpoint_path = call.endpoint_path;
  request.secrets = role->second.secrets;
  request.body = call.body;
  request.has_body = call.has_body && core::takes_body(request.method);
  if (!request.has_body && core::needs_body(request.method)) {
    // Somebody wrote the row by hand; invoke() always gives a body.
    request.body = "{}";
    request.has_body = true;
  }
  request.timeout_ms = call.timeout_ms > 0 ? call.timeout_ms : settings_.request_timeout_ms;
  identity.has_body = request.has_body;
  identity.timeout_ms = request.timeout_ms;
  request.headers = core::request_headers(to.secret, identity, call.headers, to.headers);
  apply_connection_settings(request);
  request.max_response_bytes =
      policies_.policy_of(call.endpoint_path).max_response_bytes.value_or(settings_.max_response_bytes);
  const std::optional<core::PreviousSecret>& previous = to.previous;
  if (previous && unix_now_us() < previous->until_us && same_origin(previous->api_url, to.api_url)) {
    sending.with_previous = std::make_unique<Request>(request);
    sending.with_previous->headers = core::request_headers(previous->secret, identity, call.headers, to.headers);
    sending.previous_until_us = previous->until_us;
  }
  return request;
}

}  // namespace wee5::delivery
