#pragma once

namespace wee5::delivery::test {

// Stands in for a DNS server that swallows every question (a black hole): getaddrinfo() for names under ".hang.test"
// waits for 8 s, or until this object goes, and then finds nothing. Names under ".local.test" are 127.0.0.1,
// those under ".nowhere.test" do not exist. One object at a time.
class HangingResolver {
 public:
  HangingResolver();
  ~HangingResolver();  // lets all lookups go, and waits until they are gone
  HangingResolver(const HangingResolver&) = delete;
  HangingResolver& operator=(const HangingResolver&) = delete;

  // Until that many lookups hang; false after 20 s.
  bool wait_for_lookups(int count);
  // How many hang now. A lookup that gave up after its 8 s does not count.
  int hanging();
  // Whether one of them was in a thread that takes signals of the process.
  bool took_signals();
};

}  // namespace wee5::delivery::test
