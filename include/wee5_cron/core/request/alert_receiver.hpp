#pragma once

#include <string_view>

namespace wee5::core {

// The message format that the receiver of a webhook accepts. Its host tells which one that is.
enum class AlertReceiver {
  kPlain,    // the event as it is, with a "text" for people
  kDiscord,  // refuses a message without "content"
  kSlack,    // shows "text"
  kTeams     // a workflow, which posts the Adaptive Card that it gets
};
AlertReceiver alert_receiver_of(std::string_view host) noexcept;
const char* alert_receiver_name(AlertReceiver receiver) noexcept;

}  // namespace wee5::core
