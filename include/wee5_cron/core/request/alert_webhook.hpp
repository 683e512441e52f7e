#pragma once

#include <string_view>

namespace wee5::core {

// The message format that a webhook accepts, known by its host.
enum class AlertWebhook {
  kPlain,    // the event as it is, with a "text" for people
  kDiscord,  // refuses a message without "content"
  kSlack,    // shows "text"
  kTeams     // a workflow, which posts the Adaptive Card that it gets
};
AlertWebhook alert_webhook_of(std::string_view host) noexcept;
const char* alert_webhook_name(AlertWebhook webhook) noexcept;

}  // namespace wee5::core
