#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/loopback_server.hpp"
#include "wee5_cron/delivery/engine/engine.hpp"

namespace wee5::delivery::test {

inline constexpr const char* kSecret = "s3cr3t-0123456789-abcdefghij";

// A GET with the bearer and generous deadlines.
Request request_to(const std::string& url);

// What an owner does: waits on poll_fd() and timeout_ms(), performs, until `count` results are there or 20 s are over.
std::vector<Result> run(Engine& engine, std::size_t count = 1);

// The same until the event is there.
testing::AssertionResult serve_until(Engine& engine, Event& event);

// One request from its start to its Result, on an engine of its own.
Result fetch(Request request);

}  // namespace wee5::delivery::test
