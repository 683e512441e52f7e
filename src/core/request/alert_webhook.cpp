#include "wee5_cron/core/request/alert_webhook.hpp"

#include "wee5_cron/core/text/ascii.hpp"

namespace wee5::core {
namespace {

bool is_at(std::string_view host, std::string_view domain) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  if (host.size() < domain.size()) return false;
  const std::size_t begin = host.size() - domain.size();
  return equals_ignoring_case(host.substr(begin), domain) && (begin == 0 || host[begin - 1] == '.');
}

}  // namespace

AlertWebhook alert_webhook_of(std::string_view host) noexcept {
  return is_at(host, "discord.com") || is_at(host, "discordapp.com") ? AlertWebhook::kDiscord : AlertWebhook::kPlain;
}

const char* alert_webhook_name(AlertWebhook webhook) noexcept {
  return webhook == AlertWebhook::kDiscord ? "discord" : "plain";
}

}  // namespace wee5::core
