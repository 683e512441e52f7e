#pragma once

#include <string_view>

namespace wee5::core {

// Which message the receiver of an alert understands, by its host.
enum class AlertWebhook {
  kPlain,   // the event; Slack reads its "text"
  kDiscord  // refuses whatever has no "content"
};
AlertWebhook alert_webhook_of(std::string_view host) noexcept;
const char* alert_webhook_name(AlertWebhook webhook) noexcept;

}  // namespace wee5::core
