#include "wee5_cron/core/outcome/outcome.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "wee5_cron/core/request/endpoint_path.hpp"

namespace wee5::core {
namespace {

Observation answer(int status, std::string content_type = "application/json") {
  Observation observation;
  observation.http_status = status;
  observation.url = "https://app.example.com/api/cron/poll-activities";
  observation.endpoint_path = "/api/cron/poll-activities";
  observation.content_type = std::move(content_type);
  observation.timeout_ms = 60'000;
  return observation;
}

Observation failure(Reason reason, std::string detail, std::string url = "https://app.example.com/api/x") {
  Observation observation;
  observation.reason = reason;
  observation.detail = std::move(detail);
  observation.url = std::move(url);
  observation.endpoint_path = "/api/x";
  observation.timeout_ms = 5'000;
  return observation;
}

bool contains(std::string_view text, std::string_view wanted) { return text.find(wanted) != std::string_view::npos; }

TEST(Outcome, ReasonsAreTheLedgersWords) {
  EXPECT_STREQ(reason_name(Reason::kNone), "");
  EXPECT_STREQ(reason_name(Reason::kConfig), "config");
  EXPECT_STREQ(reason_name(Reason::kDns), "dns");
  EXPECT_STREQ(reason_name(Reason::kConnect), "connect");
  EXPECT_STREQ(reason_name(Reason::kTls), "tls");
  EXPECT_STREQ(reason_name(Reason::kTimeout), "timeout");
  EXPECT_STREQ(reason_name(Reason::kHttp), "http");
  EXPECT_STREQ(reason_name(Reason::kRedirect), "redirect");
  EXPECT_STREQ(reason_name(Reason::kResponse), "response");
  EXPECT_STREQ(reason_name(Reason::kLost), "lost");
  EXPECT_STREQ(reason_name(Reason::kOverlap), "overlap");
  EXPECT_STREQ(reason_name(Reason::kCancelled), "cancelled");
}

TEST(Outcome, SuccessIs2xxAndNothingElse) {
  for (int status = 100; status < 600; ++status) {
    const Explanation explanation = explain(answer(status));
    EXPECT_EQ(explanation.succeeded, status >= 200 && status <= 299) << status;
    EXPECT_EQ(explanation.error.empty(), explanation.succeeded) << status;
    const Reason expected = status >= 200 && status < 300   ? Reason::kNone
                            : status >= 300 && status < 400 ? Reason::kRedirect
                                                            : Reason::kHttp;
    EXPECT_EQ(explanation.reason, expected) << status;
    if (explanation.succeeded) {
      EXPECT_EQ(explanation.hint, "");
      continue;
    }
    EXPECT_FALSE(explanation.hint.empty()) << status;
    EXPECT_TRUE(contains(explanation.error, std::to_string(status))) << explanation.error;
    EXPECT_TRUE(explanation.error.ends_with('.')) << explanation.error;
  }
}

TEST(Outcome, NoAnswerIsNotASuccess) {
  const Explanation explanation = explain(answer(0));
  EXPECT_FALSE(explanation.succeeded);
  EXPECT_EQ(explanation.reason, Reason::kResponse);
  EXPECT_EQ(explanation.error, "No complete answer came to /api/cron/poll-activities.");
}

// A status that arrived does not hide that the transport failed afterwards.
TEST(Outcome, TheTransportsReasonComesFirst) {
  Observation observation = answer(200);
  observation.reason = Reason::kResponse;
  observation.detail = "transfer closed with 10 bytes remaining to read";
  const Explanation explanation = explain(observation);
  EXPECT_FALSE(explanation.succeeded);
  EXPECT_EQ(explanation.reason, Reason::kResponse);
  EXPECT_EQ(
      explanation.error,
      "The app began to answer 200 OK to /api/cron/poll-activities, and the answer broke off (transfer closed with "
      "10 bytes remaining to read).");
}

TEST(Outcome, TheErrorSaysWhatTheAppAnswered) {
  EXPECT_EQ(explain(answer(500)).error, "The app answered 500 Internal Server Error to /api/cron/poll-activities.");
  EXPECT_EQ(explain(answer(404)).error, "The app answered 404 Not Found to /api/cron/poll-activities.");
  EXPECT_EQ(explain(answer(599)).error, "The app answered 599 to /api/cron/poll-activities.");
}

TEST(Outcome, TheHintOfA401NamesTheSecretAndProxiesInFrontOfTheApp) {
  const std::string hint = explain(answer(401)).hint;
  EXPECT_TRUE(contains(hint, "CRON_SECRET"));
  EXPECT_TRUE(contains(hint, "ALTER DATABASE ... SET app.settings.cron_secret = '...'"));
  EXPECT_TRUE(contains(hint, "Deployment Protection"));
  EXPECT_TRUE(explain(answer(401, "text/html; charset=utf-8")).hint.starts_with("The answer is an HTML page"));
}

// A job's command names no method and no header: what counts for it is the row of the path.
TEST(Outcome, HintsNameTheRowThatChangesTheRequestsOfAPath) {
  EXPECT_TRUE(contains(explain(answer(405)).hint,
                       "INSERT INTO wee5_cron.endpoint (endpoint_path, method) VALUES ('/api/cron/poll-activities', "
                       "'POST') ON CONFLICT (endpoint_path) DO UPDATE SET method = excluded.method;"));
  Observation posted = answer(405);
  posted.method = "POST";
  posted.endpoint_path = "/api/x?y=1";
  EXPECT_TRUE(contains(explain(posted).hint, "does not accept POST"));
  EXPECT_TRUE(contains(explain(posted).hint, "VALUES ('/api/x', 'GET')"));
  EXPECT_TRUE(contains(explain(posted).hint, "invoke('/api/x?y=1', method => 'GET')"));
  EXPECT_TRUE(contains(explain(answer(401)).hint,
                       "INSERT INTO wee5_cron.endpoint (endpoint_path, headers) VALUES ('/api/cron/poll-activities', "
                       "'{\"User-Agent\": \"vercel-cron/1.0\"}')"));
}

TEST(Outcome, AFailureOfAProxyNamesTheProxy) {
  Observation observation;
  observation.reason = Reason::kConnect;
  observation.url = "https://127.0.0.1:3000/x";
  observation.endpoint_path = "/x";
  observation.detail = "CONNECT tunnel failed, response 403";
  observation.proxy = "proxy.example:3128";
  const Explanation explanation = explain(observation);
  EXPECT_EQ(
      explanation.error,
      "No connection to 127.0.0.1:3000 through the proxy proxy.example:3128 (CONNECT tunnel failed, response 403).");
  EXPECT_TRUE(contains(explanation.hint, "wee5_cron.proxy"));
  EXPECT_FALSE(contains(explanation.hint, "host.docker.internal"));
}

TEST(Outcome, OtherStatusesHaveTheirHints) {
  EXPECT_TRUE(contains(explain(answer(404)).hint, "app/api/cron/poll-activities/route.ts"));
  EXPECT_TRUE(contains(explain(answer(404)).hint, "app.settings.api_url"));
  EXPECT_TRUE(
      contains(explain(answer(405)).hint, "SELECT wee5_cron.invoke('/api/cron/poll-activities', method => 'POST')"));
  EXPECT_TRUE(contains(explain(answer(504)).hint, "maxDuration"));
  EXPECT_TRUE(contains(explain(answer(503)).hint, "deployed"));
  EXPECT_TRUE(contains(explain(answer(500)).hint, "log"));
  EXPECT_TRUE(contains(explain(answer(422)).hint, "response_body"));
}

TEST(Outcome, AnHtmlPageInPlaceOfJsonIsASuccessWithAHint) {
  const Explanation explanation = explain(answer(200, "Text/HTML; charset=utf-8"));
  EXPECT_TRUE(explanation.succeeded);
  EXPECT_EQ(explanation.error, "");
  EXPECT_TRUE(contains(explanation.hint, "HTML page"));
}

TEST(Outcome, TheCallersPathIsQuotedInSql) {
  Observation observation = answer(405);
  observation.endpoint_path = "/a'); DROP TABLE x; --";
  EXPECT_TRUE(contains(explain(observation).hint, "invoke('/a''); DROP TABLE x; --', method"));
}

TEST(Outcome, DnsFailuresNameTheHost) {
  const Explanation explanation = explain(failure(Reason::kDns, "Could not resolve host: app.example.com"));
  EXPECT_EQ(explanation.reason, Reason::kDns);
  EXPECT_EQ(explanation.error, "The host name app.example.com could not be resolved.");
  EXPECT_TRUE(contains(explanation.hint, "SHOW app.settings.api_url"));
  EXPECT_TRUE(contains(explain(failure(Reason::kDns, "no DNS server")).error, "(no DNS server)"));
}

TEST(Outcome, TheHintOfARefusedLoopbackConnectionMentionsContainers) {
  for (const std::string_view host : {"localhost", "127.0.0.1", "[::1]"}) {
    const Explanation explanation =
        explain(failure(Reason::kConnect, "Connection refused", "http://" + std::string(host) + ":3000/api/x"));
    EXPECT_EQ(explanation.error, "No connection to " + std::string(host) + ":3000 (Connection refused).");
    EXPECT_TRUE(contains(explanation.hint, "container"));
    EXPECT_TRUE(contains(explanation.hint, "host.docker.internal"));
  }
  const Explanation elsewhere = explain(failure(Reason::kConnect, "Connection refused."));
  EXPECT_EQ(elsewhere.error, "No connection to app.example.com (Connection refused).");
  EXPECT_FALSE(contains(elsewhere.hint, "container"));
  EXPECT_TRUE(contains(explain(failure(Reason::kConnect, "Connection timed out")).hint, "connect_timeout"));
}

TEST(Outcome, WithoutAnAddressTheErrorNamesTheOneThatCounts) {
  Observation of_app = failure(Reason::kDns, "");
  of_app.url = "";
  EXPECT_EQ(explain(of_app).error, "The host name of app.settings.api_url could not be resolved.");
  Observation of_target = of_app;
  of_target.endpoint_path = "billing:/api/x";
  EXPECT_EQ(explain(of_target).error, "The host name of the api_url of target \"billing\" could not be resolved.");
  EXPECT_FALSE(contains(explain(of_target).hint, "app.settings"));
  of_target.reason = Reason::kConnect;
  EXPECT_EQ(explain(of_target).error, "No connection to the address of target \"billing\".");
  of_target.reason = Reason::kTls;
  EXPECT_EQ(explain(of_target).error, "No trusted TLS connection to the address of target \"billing\".");
}

TEST(Outcome, HintsSpeakOfTheTarget) {
  const auto of_target = [](Observation observation) {
    observation.endpoint_path = "billing:/api/x";
    return explain(observation).hint;
  };
  EXPECT_TRUE(
      of_target(failure(Reason::kDns, "")).starts_with("Check the spelling in the api_url of target \"billing\", and"));
  EXPECT_TRUE(of_target(failure(Reason::kConnect, "refused")).ends_with("port in the api_url of target \"billing\"."));
  EXPECT_EQ(of_target(failure(Reason::kConfig, "")), "Check the api_url of target \"billing\" and its secret.");
  Observation answer = failure(Reason::kNone, "");
  answer.http_status = 404;
  EXPECT_TRUE(
      contains(of_target(answer), "Check the path, the api_url of target \"billing\" with its path prefix, and"));
  answer.http_status = 401;
  EXPECT_TRUE(
      contains(of_target(answer), "the secret of target \"billing\" (SELECT wee5_cron.configure_target()) must be"));
  // The path is shown as it is, whatever words it has.
  answer.http_status = 405;
  answer.endpoint_path = "billing:/app.settings.api_url";
  EXPECT_TRUE(contains(explain(answer).hint, "VALUES ('billing:/app.settings.api_url', 'POST')"));
}

TEST(Outcome, TlsFailuresSayWhatIsWrong) {
  const auto hint = [](const char* detail) { return explain(failure(Reason::kTls, detail)).hint; };
  EXPECT_TRUE(contains(hint("SSL: no alternative certificate subject name matches target host name 'x'"), "'www.'"));
  EXPECT_TRUE(contains(hint("SSL certificate problem: certificate has expired"), "Renew it"));
  EXPECT_TRUE(contains(hint("SSL certificate problem: self-signed certificate"), "wee5_cron.ca_file"));
  EXPECT_TRUE(contains(hint("SSL certificate problem: unable to get local issuer certificate"), "wee5_cron.ca_file"));
  for (const char* unreadable :
       {"error setting certificate file: /roots.pem", "error adding trust anchors from file: /roots.pem",
        "error setting certificate verify locations:  CAfile: /roots.pem CApath: none",
        "Problem with the SSL CA cert (path? access rights?)"}) {
    EXPECT_TRUE(contains(hint(unreadable), "cannot read the file of root certificates")) << unreadable;
  }
  EXPECT_TRUE(contains(hint("error:0A00010B:SSL routines::wrong version number"), "does not speak TLS"));
  EXPECT_TRUE(contains(hint("handshake failure"), "TLS 1.2"));
}

TEST(Outcome, TimeoutWarnsThatTheAppMayHaveFinished) {
  const Explanation explanation = explain(failure(Reason::kTimeout, ""));
  EXPECT_EQ(explanation.error, "The app did not answer /api/x within 5 s.");
  EXPECT_TRUE(contains(explanation.hint, "may have finished"));
  EXPECT_TRUE(contains(explanation.hint, "cold start"));
  EXPECT_TRUE(contains(explanation.hint, "SELECT wee5_cron.invoke('/api/x', timeout => '60 seconds')"));
  EXPECT_TRUE(contains(explanation.hint, "SET wee5_cron.request_timeout = '60s'"));

  Observation longer = failure(Reason::kTimeout, "");
  longer.timeout_ms = 90'500;
  EXPECT_EQ(explain(longer).error, "The app did not answer /api/x within 90500 ms.");
  EXPECT_TRUE(contains(explain(longer).hint, "'182s'"));
  EXPECT_FALSE(contains(explain(longer).hint, "cold start"));
}

TEST(Outcome, OtherReasonsHaveTheirSentence) {
  for (const Reason reason : {Reason::kConfig, Reason::kLost, Reason::kCancelled, Reason::kOverlap}) {
    const Explanation explanation = explain(failure(reason, ""));
    EXPECT_FALSE(explanation.succeeded);
    EXPECT_EQ(explanation.reason, reason);
    EXPECT_TRUE(contains(explanation.error, "/api/x")) << explanation.error;
  }
  EXPECT_TRUE(contains(explain(failure(Reason::kLost, "")).hint, "log"));
  EXPECT_EQ(explain(failure(Reason::kCancelled, "")).error, "The call of /api/x was cancelled.");
  EXPECT_EQ(explain(failure(Reason::kOverlap, "42")).error, "Call 42 of /api/x has not ended yet.");
}

TEST(Outcome, AWebhookHasItsOwnHintAndCompletesNothingLater) {
  Observation seen = answer(202, "text/html");
  seen.endpoint_path = kAlertPath;
  seen.accepted = true;
  EXPECT_TRUE(explain(seen).succeeded);
  EXPECT_FALSE(explain(seen).accepted);
  EXPECT_EQ(explain(seen).hint, "");
  seen = answer(500);
  seen.endpoint_path = kAlertPath;
  EXPECT_TRUE(contains(explain(seen).hint, "wee5_cron.alert_url"));
  for (const Reason reason : {Reason::kDns, Reason::kTls, Reason::kTimeout, Reason::kRedirect, Reason::kLost}) {
    seen = failure(reason, "");
    seen.endpoint_path = kAlertPath;
    EXPECT_TRUE(contains(explain(seen).hint, "wee5_cron.alert_url")) << reason_name(reason);
  }
  seen = failure(Reason::kCancelled, "");
  seen.endpoint_path = kAlertPath;
  EXPECT_EQ(explain(seen).hint, "");
}

TEST(Outcome, TextOfTheTransportStaysOneLine) {
  const std::string error = explain(failure(Reason::kResponse, "evil\r\nLOG: \x1b[31m" + std::string(5000, 'x'))).error;
  EXPECT_EQ(error.find_first_of("\r\n\x1b"), std::string::npos);
  EXPECT_LT(error.size(), 400U);
}

TEST(Outcome, EmptyObservationsDoNoHarm) {
  for (int reason = 0; reason <= static_cast<int>(Reason::kCancelled); ++reason) {
    Observation observation;
    observation.reason = static_cast<Reason>(reason);
    const Explanation explanation = explain(observation);
    EXPECT_FALSE(explanation.succeeded);
    EXPECT_FALSE(explanation.error.empty());
  }
}

}  // namespace
}  // namespace wee5::core
