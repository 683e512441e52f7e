#include "wee5_cron/core/request/address_words.hpp"

namespace wee5::core {

std::string AddressWords::api_url() const {
  return target_.empty() ? "app.settings.api_url" : "the api_url of target \"" + target_ + "\"";
}

std::string AddressWords::api_url_at_fault() const {
  return target_.empty() ? api_url() : "target \"" + target_ + "\": api_url";
}

std::string AddressWords::how_to_show() const { return target_.empty() ? " (SHOW app.settings.api_url)" : ""; }

std::string AddressWords::whose() const { return target_.empty() ? "the app's" : "its"; }

std::string AddressWords::set_api_url(std::string_view literal) const {
  const std::string address(literal);
  return target_.empty() ? "ALTER DATABASE ... SET app.settings.api_url = " + address
                         : "SELECT wee5_cron.configure_target('" + target_ + "', " + address +
                               ", 'the secret that this app expects')";
}

std::string AddressWords::secret() const { return target_.empty() ? "app.settings.cron_secret" : "its secret"; }

std::string AddressWords::called_with() const {
  return target_.empty() ? "the app is called with the bearer secret of app.settings.cron_secret"
                         : "the target is called with its own secret";
}

std::string AddressWords::expected_secret() const {
  if (!target_.empty()) {
    return "the secret of target \"" + target_ +
           "\" (SELECT wee5_cron.configure_target()) must be the one that it expects";
  }
  return "app.settings.cron_secret must equal CRON_SECRET in the app (ALTER DATABASE ... SET app.settings.cron_secret "
         "= '...')";
}

}  // namespace wee5::core
