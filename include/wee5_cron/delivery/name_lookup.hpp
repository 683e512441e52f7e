#pragma once

#include <memory>
#include <string>

namespace wee5::delivery {

// One look at what a host name leads to, with libcurl's resolver, hence as a call would see it. No packet goes to the
// host itself. It cannot hang: the owner goes on in steps, and may go away in the middle of a lookup.
class NameLookup {
 public:
  // `host` as it stands in a URL, IPv6 in brackets. Throws std::runtime_error where libcurl refuses to begin.
  explicit NameLookup(const std::string& host);
  ~NameLookup();
  NameLookup(const NameLookup&) = delete;
  NameLookup& operator=(const NameLookup&) = delete;

  // Whether a lookup of this libcurl can be left alone at all: with a resolver in a thread that nobody has to join.
  static bool possible() noexcept;

  // Waits up to that long; true when the lookup has ended.
  bool step(int milliseconds);
  // After the end. The first address, "" where there is none; then why not.
  const std::string& address() const noexcept;
  const std::string& error() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wee5::delivery
