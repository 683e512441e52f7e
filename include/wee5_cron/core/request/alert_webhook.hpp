#pragma once

#include <string_view>

namespace wee5::core {

// The message format that a webhook accepts, known by its host.
enum class AlertWebhook {
  kPlain,   // the event as it is; Slack reads its "text"
  kDiscord  // refuses a message without "content"
};
AlertWebhook alert_webhook_of(std::string_view host) noexcept;
const char* alert_webhook_name(AlertWebhook webhook) noexcept;

}  // namespace wee5::core
