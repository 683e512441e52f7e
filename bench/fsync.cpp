// Prints how long one fdatasync of 8 kB takes in a directory: the median of twenty, in milliseconds. A commit waits for
// it.
//
//   bench_fsync <directory>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string path = std::string(argv[1]) + "/bench_fsync";
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return 1;
  std::array<char, 8192> page{};
  // Written before the measurement, because the server's log files have their full length, too.
  for (int i = 0; i < 20; ++i) {
    if (write(file, page.data(), page.size()) < 0) return 1;
  }
  fsync(file);
  std::vector<double> times;
  for (int i = 0; i < 20; ++i) {
    page.fill(static_cast<char>(i));
    const auto began = std::chrono::steady_clock::now();
    if (pwrite(file, page.data(), page.size(), static_cast<off_t>(i) * 8192) < 0 || fdatasync(file) != 0) return 1;
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count());
  }
  close(file);
  unlink(path.c_str());
  std::nth_element(times.begin(), times.begin() + 10, times.end());
  std::printf("%.2f\n", times[10]);
  return 0;
}
