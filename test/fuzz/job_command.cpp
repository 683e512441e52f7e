// Feeds any text as a job's command, which every user of pg_cron can write. What is read from it must be consistent.
// Input: a line with a path; the rest is the command.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "promise.hpp"
#include "wee5_cron/core/jobs/job_command.hpp"
#include "wee5_cron/core/text/text.hpp"

namespace {

using wee5::core::JobCommand;
using wee5::core::read_job_command;
using wee5::fuzz::take_line;

bool same(const JobCommand& one, const JobCommand& other) {
  return one.functions == other.functions && one.endpoint_path == other.endpoint_path &&
         one.is_plain == other.is_plain && one.harvests == other.harvests && one.other_schema == other.other_schema &&
         one.other_path == other.other_path;
}

void fits_together(std::string_view text) {
  const JobCommand command = read_job_command(text, "public");
  if (!command.calls_us()) WEE5_PROMISE(!command.endpoint_path && !command.is_plain);
  if (command.is_plain) WEE5_PROMISE(command.endpoint_path && command.functions.size() == 1 && !command.harvests);
  if (command.endpoint_path) WEE5_PROMISE(wee5::core::valid_utf8(*command.endpoint_path) == *command.endpoint_path);
  // Comments and blanks around it make no difference.
  WEE5_PROMISE(same(command, read_job_command("/* 1 /* 2 */ ' */ " + std::string(text), "public")));
  WEE5_PROMISE(same(command, read_job_command(std::string(text) + "\n-- end", "public")));
}

// A command that schedule() writes must be read back.
void reads_what_we_write(std::string_view line) {
  std::string path;
  for (const char c : wee5::core::valid_utf8(line)) {
    if (c != '\0') path += c;
  }
  const JobCommand command =
      read_job_command("SELECT public.invoke_cron_endpoint(" + wee5::core::sql_literal(path) + ")", "public");
  WEE5_PROMISE(command.is_plain && command.endpoint_path == path);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  reads_what_we_write(take_line(input));
  fits_together(input);
  return 0;
}
