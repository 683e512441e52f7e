#pragma once

#include <string>
#include <string_view>

namespace wee5::core {

// How errors and hints speak of an address and its secret: of the app's by their settings, of a target's by its name.
// The examples are those of the app and of the target "billing".
class AddressWords {
 public:
  AddressWords() = default;
  explicit AddressWords(std::string_view target) : target_(target) {}  // empty: the app

  // app.settings.api_url | the api_url of target "billing"
  std::string api_url() const;
  // At the beginning of an error: app.settings.api_url | target "billing": api_url
  std::string api_url_at_fault() const;
  // Behind api_url(): " (SHOW app.settings.api_url)" | nothing, because it stands beside its secret
  std::string how_to_show() const;
  // the app's | its
  std::string whose() const;
  // The statement that sets the address. `literal`: the address in quotes.
  std::string set_api_url(std::string_view literal) const;
  // app.settings.cron_secret | its secret
  std::string secret() const;
  // Which secret a request carries, as the end of a sentence.
  std::string called_with() const;
  // Which secret the app has to expect, as the beginning of a sentence.
  std::string expected_secret() const;

 private:
  std::string target_;
};

}  // namespace wee5::core
