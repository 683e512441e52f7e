#include "wee5_cron/core/outcome/pg_net_answer.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "wee5_cron/core/text/text.hpp"

namespace wee5::core {
namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kNow = 1'700'000'000 * kSecond;
constexpr double kMiddle = 0.5;

PgNetCall call() {
  PgNetCall made;
  made.endpoint_path = "/api/x";
  made.url = "https://app.example.com/api/x";
  made.method = "GET";
  made.timeout_ms = 5'000;
  made.first_begun_us = kNow - kSecond;
  made.secrets = {"s3cret-of-the-app"};
  made.max_response_bytes = 20;
  return made;
}

PgNetAnswer answer(int status, std::string_view content = "") {
  PgNetAnswer got;
  got.http_status = status;
  got.content = content;
  got.content_bytes = content.size();
  return got;
}

PgNetOutcome outcome_of(const PgNetAnswer& got, const PgNetCall& made = call()) {
  return decide(got, made, RetryPolicy(), kNow, kMiddle);
}

TEST(PgNetAnswer, SuccessIsStoredAsItCame) {
  PgNetAnswer got = answer(200, "{\"ok\":true}");
  got.content_type = "application/json";
  const PgNetOutcome outcome = outcome_of(got);
  EXPECT_EQ(outcome.decision.status, Status::kSucceeded);
  EXPECT_EQ(outcome.decision.finished_us, kNow);
  EXPECT_EQ(outcome.content_type, "application/json");
  EXPECT_EQ(outcome.body, "{\"ok\":true}");
  EXPECT_FALSE(outcome.truncated);
  EXPECT_EQ(outcome.explanation.error, "");
}

TEST(PgNetAnswer, HasTheSameOutcomeAsInTheWorker) {
  const PgNetOutcome outcome = outcome_of(answer(405));
  Observation seen;
  seen.http_status = 405;
  seen.endpoint_path = "/api/x";
  seen.url = "https://app.example.com/api/x";
  seen.method = "GET";
  seen.timeout_ms = 5'000;
  EXPECT_EQ(outcome.explanation.error, explain(seen).error);
  EXPECT_EQ(outcome.explanation.hint, explain(seen).hint);
  EXPECT_EQ(outcome.explanation.reason, Reason::kHttp);
}

TEST(PgNetAnswer, HintNamesTheMethodOfTheCall) {
  PgNetCall post = call();
  post.method = "POST";
  EXPECT_NE(outcome_of(answer(405), post).explanation.hint.find("does not accept POST"), std::string::npos);
}

TEST(PgNetAnswer, AcceptedCallIsWaitedFor) {
  PgNetAnswer got = answer(202);
  EXPECT_EQ(outcome_of(got).decision.status, Status::kSucceeded);
  got.headers = {{"wee5-cron", " Accepted"}};
  const PgNetOutcome outcome = outcome_of(got);
  EXPECT_EQ(outcome.decision.status, Status::kAccepted);
  EXPECT_EQ(outcome.decision.next_attempt_us, kNow + 3'600 * kSecond);
  EXPECT_EQ(outcome.explanation.reason, Reason::kNone);
  got.http_status = 200;
  EXPECT_EQ(outcome_of(got).decision.status, Status::kSucceeded);
  got.http_status = 500;
  EXPECT_EQ(outcome_of(got).decision.status, Status::kFailed);
}

TEST(PgNetAnswer, FailureWithoutAnswerIsRetriedByThePolicy) {
  PgNetAnswer got;
  got.failed = true;
  got.error_msg = "Couldn't connect to server";
  const PgNetOutcome outcome = outcome_of(got);
  EXPECT_EQ(outcome.explanation.reason, Reason::kConnect);
  EXPECT_EQ(outcome.decision.status, Status::kRetrying);
  EXPECT_EQ(outcome.decision.next_attempt_us, kNow + 10 * kSecond);
  EXPECT_EQ(outcome.decision.finished_us, 0);
}

TEST(PgNetAnswer, AnErrorDecidesEvenIfThereIsAStatus) {
  PgNetAnswer got = answer(200, "part");
  got.failed = true;
  got.error_msg = "Transferred a partial file";
  EXPECT_EQ(outcome_of(got).explanation.reason, Reason::kResponse);
}

TEST(PgNetAnswer, LostIsFinalWithoutATransport) {
  PgNetAnswer got;
  got.lost = true;
  EXPECT_EQ(outcome_of(got).decision.status, Status::kRetrying);
  PgNetCall last = call();
  last.may_retry = false;
  EXPECT_EQ(outcome_of(got, last).decision.status, Status::kFailed);
  EXPECT_EQ(outcome_of(got, last).explanation.reason, Reason::kLost);
  EXPECT_NE(outcome_of(got, last).explanation.error.find("stopped before the answer was recorded."), std::string::npos);
  got.error_msg = "it was deleted";
  EXPECT_NE(outcome_of(got, last).explanation.error.find(" is unknown (it was deleted)."), std::string::npos);
}

TEST(PgNetAnswer, RetryAfterIsReadInAnyCase) {
  PgNetAnswer got = answer(503);
  got.headers = {{"content-type", "text/plain"}, {"retry-AFTER", "120"}};
  EXPECT_EQ(outcome_of(got).decision.next_attempt_us, kNow + 120 * kSecond);
}

TEST(PgNetAnswer, CacheIsNoticed) {
  PgNetAnswer got = answer(200);
  got.headers = {{"X-Vercel-Cache", "HIT"}};
  EXPECT_NE(outcome_of(got).explanation.hint.find("x-vercel-cache: HIT"), std::string::npos);
}

TEST(PgNetAnswer, BodyIsCutAfterTheSecretIsRedacted) {
  const std::string content = "0123456789s3cret-of-the-app and more";
  const PgNetOutcome outcome = outcome_of(answer(200, content));
  EXPECT_TRUE(outcome.truncated);
  EXPECT_EQ(outcome.body, "0123456789[secret] a");
}

// Each secret that is redacted makes the text shorter, so that bytes beyond the cut come into what is kept.
TEST(PgNetAnswer, ManyEchoesLeaveNoPartOfTheSecret) {
  PgNetCall made = call();
  made.secrets = {std::string(64, 'k')};
  made.max_response_bytes = 8'192;
  for (std::size_t before = 0; before < 130; before += 13) {
    const std::string whole = std::string(before, 'a') + std::string(64'000, 'k');
    PgNetAnswer got = answer(200, std::string_view(whole).substr(0, made.max_response_bytes + kSecretMargin));
    got.content_bytes = whole.size();
    got.error_msg = whole;
    const PgNetOutcome outcome = outcome_of(got, made);
    EXPECT_TRUE(outcome.body.starts_with(std::string(before, 'a') + "[secret]"));
    EXPECT_EQ(outcome.body.find('k'), std::string::npos) << outcome.body;
    EXPECT_EQ(outcome.explanation.error.find("kk"), std::string::npos) << outcome.explanation.error;
  }
}

TEST(PgNetAnswer, BodyOfExactlyTheLimitIsWhole) {
  EXPECT_FALSE(outcome_of(answer(200, std::string(20, 'x'))).truncated);
  const PgNetOutcome longer = outcome_of(answer(200, std::string(21, 'x')));
  EXPECT_TRUE(longer.truncated);
  EXPECT_EQ(longer.body, std::string(20, 'x'));
}

TEST(PgNetAnswer, NoCharacterIsCutInHalf) {
  const PgNetOutcome outcome = outcome_of(answer(200, std::string(19, 'x') + "\u00e4\u00e4"));
  EXPECT_EQ(outcome.body, std::string(19, 'x'));
}

// U+FFFD, three bytes long, stands for a secret with a bracket, and the cut behind the echoes falls into one.
TEST(PgNetAnswer, NoMarkOfARedactedSecretIsCutInHalf) {
  PgNetCall made = call();
  made.secrets = {"[" + std::string(59, 's')};
  std::string echoes;
  for (int i = 0; i < 200; ++i) echoes += made.secrets.front();
  PgNetAnswer got = answer(200);
  got.content_type = echoes;
  const std::string kept = outcome_of(got, made).content_type;
  EXPECT_FALSE(kept.empty());
  EXPECT_EQ(valid_utf8(kept), kept);
}

TEST(PgNetAnswer, InvalidBytesAreReplaced) {
  PgNetAnswer got = answer(200, std::string_view("a\xFF"
                                                 "b\0c",
                                                 5));
  got.content_type = "text/\xFF";
  EXPECT_EQ(outcome_of(got).body,
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD"
            "c");
  EXPECT_EQ(outcome_of(got).content_type, "text/\xEF\xBF\xBD");
}

TEST(PgNetAnswer, SecretIsRedactedInEveryText) {
  PgNetAnswer got;
  got.failed = true;
  got.error_msg = "Bad s3cret-of-the-app";
  got.content_type = "text/s3cret-of-the-app";
  const PgNetOutcome outcome = outcome_of(got);
  EXPECT_EQ(outcome.content_type, "text/[secret]");
  EXPECT_EQ(outcome.explanation.error.find("s3cret-of-the-app"), std::string::npos);
}

TEST(PgNetAnswer, TextsAreWithheldIfTheSecretIsUnknown) {
  PgNetCall blind = call();
  blind.secrets.clear();
  blind.withheld = "[withheld]";
  PgNetAnswer got = answer(500, "anything");
  got.content_type = "text/plain";
  const PgNetOutcome outcome = outcome_of(got, blind);
  EXPECT_EQ(outcome.body, "[withheld]");
  EXPECT_EQ(outcome.content_type, "[withheld]");
  EXPECT_EQ(outcome.explanation.reason, Reason::kHttp);
  got = PgNetAnswer();
  got.failed = true;
  got.error_msg = "Couldn't connect to server";
  EXPECT_EQ(outcome_of(got, blind).explanation.reason, Reason::kConnect);
  EXPECT_EQ(outcome_of(got, blind).explanation.error.find("Couldn't"), std::string::npos);
}

TEST(PgNetAnswer, ErrorMessagesHaveTheirReasons) {
  struct Row {
    const char* words;
    Reason reason;
  };
  for (const Row& row : {
           Row{"Couldn't resolve host name", Reason::kDns},
           Row{"Could not resolve hostname", Reason::kDns},
           Row{"Couldn't resolve proxy name", Reason::kDns},
           Row{"Couldn't connect to server", Reason::kConnect},
           Row{"Could not connect to server", Reason::kConnect},
           Row{"Timeout was reached", Reason::kTimeout},
           Row{"Timeout of 5000 ms reached. Total time: 5001.0 ms (DNS time: 73.4 ms, TCP/SSL handshake time: 677.2 "
               "ms, "
               "HTTP Request/Response time: 0.0 ms)",
               Reason::kTimeout},
           Row{"SSL connect error", Reason::kTls},
           Row{"SSL peer certificate or SSH remote key was not OK", Reason::kTls},
           Row{"Problem with the SSL CA cert (path? access rights?)", Reason::kTls},
           Row{"Server returned nothing (no headers, no data)", Reason::kResponse},
           Row{"Failure when receiving data from the peer", Reason::kResponse},
           Row{"Failed sending data to the peer", Reason::kResponse},
           Row{"Transferred a partial file", Reason::kResponse},
           Row{"Number of redirects hit maximum amount", Reason::kRedirect},
           Row{"URL using bad/illegal format or missing URL", Reason::kConfig},
           Row{"Unsupported protocol", Reason::kConfig},
           Row{"", Reason::kResponse},
           Row{"something new", Reason::kResponse},
       }) {
    EXPECT_EQ(reason_of_pg_net(row.words, false), row.reason) << row.words;
    EXPECT_EQ(reason_of_pg_net(row.words, true), Reason::kTimeout) << row.words;
  }
}

}  // namespace
}  // namespace wee5::core
