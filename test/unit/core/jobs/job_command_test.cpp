#include "wee5_cron/core/jobs/job_command.hpp"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace wee5::core {
namespace {

using namespace std::string_view_literals;

JobCommand read(std::string_view command) { return read_job_command(command, "public"); }

struct Ours {
  std::string_view command;
  std::string_view path;  // empty: none can be read
};
std::ostream& operator<<(std::ostream& out, const Ours& ours) { return out << ours.command; }

class CallsUs : public testing::TestWithParam<Ours> {};

TEST_P(CallsUs, WithThisPath) {
  const JobCommand command = read(GetParam().command);
  EXPECT_TRUE(command.calls_us());
  EXPECT_EQ(command.endpoint_path.value_or(""), GetParam().path);
  EXPECT_EQ(command.endpoint_path.has_value(), !GetParam().path.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Names, CallsUs,
    testing::Values(Ours{"SELECT invoke_cron_endpoint('/x')", "/x"}, Ours{"SELECT INVOKE_CRON_ENDPOINT('/x')", "/x"},
                    Ours{"select Public . Invoke_Cron_Endpoint ( '/x' ) ;", "/x"},
                    Ours{R"(SELECT "public"."invoke_cron_endpoint"('/x'))", "/x"},
                    Ours{R"(SELECT "invoke_cron_endpoint"('/x'))", "/x"},
                    Ours{R"(SELECT U&"invoke\005fcron_endpoint"('/x'))", "/x"},
                    Ours{R"(SELECT U&"invoke!005fcron_endpoint" UESCAPE '!' ('/x'))", "/x"},
                    Ours{"SELECT app.public.invoke_cron_endpoint('/x')", "/x"},
                    Ours{"SELECT * FROM invoke_cron_endpoint('/x')", "/x"}, Ours{"SELECT wee5_cron.invoke('/x')", "/x"},
                    Ours{"SELECT WEE5_CRON.Invoke('/x', 'POST')", "/x"}, Ours{"CALL wee5_cron.run('/x')", "/x"},
                    Ours{"CALL \"wee5_cron\".\"run\"('/x')", "/x"},
                    Ours{"SELECT\n\tinvoke_cron_endpoint\r\n(\f'/x'\v)", "/x"},
                    Ours{"select(invoke_cron_endpoint('/x'))", "/x"},
                    Ours{"SELECT 1 WHERE true AND invoke_cron_endpoint('/x')>0", "/x"}));

INSTANTIATE_TEST_SUITE_P(Comments, CallsUs,
                         testing::Values(Ours{"SELECT /* a */ invoke_cron_endpoint /* b */ ( /* '/no' */ '/x' -- )\n)",
                                              "/x"},
                                         Ours{"/* outer /* inner */ ' */ SELECT invoke_cron_endpoint('/x')", "/x"},
                                         Ours{"-- it's a comment\nSELECT invoke_cron_endpoint('/x')", "/x"},
                                         Ours{"SELECT public./**/invoke_cron_endpoint('/x')", "/x"},
                                         Ours{"SELECT invoke_cron_endpoint('/x--y/*z')", "/x--y/*z"},
                                         Ours{"SELECT 1+--\ninvoke_cron_endpoint('/x')", "/x"},
                                         Ours{"SELECT 1+/**/invoke_cron_endpoint('/x')", "/x"}));

INSTANTIATE_TEST_SUITE_P(Strings, CallsUs,
                         testing::Values(Ours{"SELECT invoke_cron_endpoint('/it''s')", "/it's"},
                                         Ours{"SELECT invoke_cron_endpoint($p$/x$p$)", "/x"},
                                         Ours{"SELECT invoke_cron_endpoint($$/it's$$)", "/it's"},
                                         Ours{"SELECT invoke_cron_endpoint($a$/x$b$y$a$)", "/x$b$y"},
                                         Ours{R"(SELECT invoke_cron_endpoint(E'/x\'y\\z'))", "/x'y\\z"},
                                         Ours{R"(SELECT invoke_cron_endpoint(e'\057x\x2fy\u00e9\U0001F600\t'))",
                                              "/x/yé😀\t"},
                                         Ours{R"(SELECT invoke_cron_endpoint(E'/\ud83d\ude00'))", "/😀"},
                                         Ours{R"(SELECT invoke_cron_endpoint('/x\y'))", "/x\\y"},
                                         Ours{R"(SELECT invoke_cron_endpoint(U&'\002Fx\+01F600'))", "/x😀"},
                                         Ours{R"(SELECT invoke_cron_endpoint(u&'!002Fx!!''' UESCAPE '!'))", "/x!'"},
                                         Ours{R"(SELECT invoke_cron_endpoint(U&'/a' /* c */ uescape '#'))", "/a"},
                                         Ours{"SELECT invoke_cron_endpoint(N'/x')", "/x"},
                                         Ours{"SELECT invoke_cron_endpoint('/x'\n  '/y')", "/x/y"},
                                         Ours{"SELECT invoke_cron_endpoint('/x' -- first\n  '/y')", "/x/y"},
                                         Ours{"SELECT invoke_cron_endpoint('/größe')", "/größe"}));

INSTANTIATE_TEST_SUITE_P(
    PathsThatCannotBeRead, CallsUs,
    testing::Values(
        Ours{"SELECT invoke_cron_endpoint(path) FROM paths", ""}, Ours{"SELECT invoke_cron_endpoint('/x' || n)", ""},
        Ours{"SELECT invoke_cron_endpoint('/x' '/y')", ""}, Ours{"SELECT invoke_cron_endpoint(NULL)", ""},
        Ours{"SELECT invoke_cron_endpoint(format('/x/%s', 'y'))", ""},
        Ours{"SELECT invoke_cron_endpoint((SELECT '/x'))", ""}, Ours{"SELECT invoke_cron_endpoint($1)", ""},
        Ours{"SELECT invoke_cron_endpoint(X'2F78')", ""}, Ours{R"(SELECT invoke_cron_endpoint(E'/\u12'))", ""},
        Ours{R"(SELECT invoke_cron_endpoint(E'/\x00'))", ""}, Ours{R"(SELECT invoke_cron_endpoint(E'/\xff'))", ""},
        Ours{R"(SELECT invoke_cron_endpoint(E'/\ud83d'))", ""}, Ours{R"(SELECT invoke_cron_endpoint(E'/\ude00'))", ""},
        Ours{R"(SELECT invoke_cron_endpoint(U&'/\00zz'))", ""},
        Ours{R"(SELECT invoke_cron_endpoint(U&'/x' UESCAPE 'a'))", ""},
        Ours{"SELECT invoke_cron_endpoint('/x'::json::text)", ""},
        Ours{"SELECT invoke_cron_endpoint('/too long'::varchar(3))", ""},
        Ours{"SELECT invoke_cron_endpoint(varchar(3) '/too long')", ""},
        Ours{"SELECT invoke_cron_endpoint(CASE WHEN now() > '2026-01-01' THEN '/x' END)", ""},
        Ours{"SELECT wee5_cron.invoke(method => 'POST')", ""}, Ours{"SELECT wee5_cron.invoke(path, 'POST') FROM t", ""},
        Ours{"CALL wee5_cron.run(x, '/y')", ""}));

INSTANTIATE_TEST_SUITE_P(
    Arguments, CallsUs,
    testing::Values(Ours{"SELECT invoke_cron_endpoint('/x'::text)", "/x"},
                    Ours{"SELECT invoke_cron_endpoint('/x' :: pg_catalog.text)", "/x"},
                    Ours{"SELECT invoke_cron_endpoint('/x'::varchar(20)::text)", "/x"},
                    Ours{"SELECT invoke_cron_endpoint('/x'::character varying)", "/x"},
                    Ours{"SELECT invoke_cron_endpoint(CAST('/x' AS text))", "/x"},
                    Ours{"SELECT invoke_cron_endpoint(text '/x')", "/x"},
                    Ours{"SELECT invoke_cron_endpoint((('/x')::text))", "/x"},
                    Ours{"SELECT invoke_cron_endpoint(endpoint_path => '/x')", "/x"},
                    Ours{"SELECT invoke_cron_endpoint(\"endpoint_path\":='/x')", "/x"},
                    Ours{"SELECT wee5_cron.invoke(method => 'POST', endpoint_path => '/api/one')", "/api/one"},
                    Ours{"SELECT wee5_cron.invoke(method := 'POST', ENDPOINT_PATH := '/api/two')", "/api/two"},
                    Ours{"SELECT wee5_cron.invoke('/x', body => jsonb_build_array('a', '/b'))", "/x"},
                    Ours{"SELECT wee5_cron.invoke(body => '{\"a\": [1, 2]}', headers => hstore('(', ','), "
                         "endpoint_path => $$/x$$)",
                         "/x"}));

INSTANTIATE_TEST_SUITE_P(
    Statements, CallsUs,
    testing::Values(Ours{"SELECT 1; SELECT invoke_cron_endpoint('/x')", "/x"},
                    Ours{"SELECT f(invoke_cron_endpoint('/x'))", "/x"},
                    Ours{"SELECT invoke_cron_endpoint('/a'), invoke_cron_endpoint('/b')", "/a"},
                    Ours{"SELECT 'invoke_cron_endpoint(''/no'')', invoke_cron_endpoint('/x')", "/x"},
                    Ours{"SELECT theirs.invoke_cron_endpoint('/no'); SELECT invoke_cron_endpoint('/x')", "/x"},
                    Ours{"SELECT invoke_cron_endpoint('seo', '/no', 'GET'), invoke_cron_endpoint('/x')", "/x"},
                    Ours{"DO $$BEGIN PERFORM invoke_cron_endpoint('/x'); END$$", "/x"},
                    Ours{"do language plpgsql 'BEGIN PERFORM invoke_cron_endpoint(''/x''); END'", "/x"},
                    Ours{"SELECT 1; DO $d$ DECLARE n int := 1; BEGIN PERFORM wee5_cron.invoke('/x'); END $d$", "/x"}));

INSTANTIATE_TEST_SUITE_P(
    Executed, CallsUs,
    testing::Values(
        Ours{"DO $$BEGIN EXECUTE 'SELECT public.invoke_cron_endpoint(''/x'')'; END$$", "/x"},
        Ours{"DO $$BEGIN EXECUTE $q$SELECT invoke_cron_endpoint('/x') WHERE $q$ || condition; END$$", "/x"},
        Ours{"DO 'BEGIN execute(E''SELECT invoke_cron_endpoint(\\''/x\\'')''); END'", "/x"},
        Ours{"DO $$BEGIN EXECUTE format('SELECT wee5_cron.invoke(''/x'', %L)', method); END$$", "/x"},
        Ours{"DO $$BEGIN EXECUTE (pg_catalog.format(($q$CALL wee5_cron.run('/x')$q$))); END$$", "/x"},
        Ours{"DO $$BEGIN FOR r IN EXECUTE 'SELECT invoke_cron_endpoint($1)' USING p LOOP END LOOP; END$$", ""},
        Ours{"DO $$BEGIN EXECUTE format('SELECT public.invoke_cron_endpoint(%L)', '/x'); END$$", ""},
        Ours{"DO $$BEGIN EXECUTE format('SELECT invoke_cron_endpoint(''/x/%1$s'')', n); END$$", ""},
        Ours{"DO $$BEGIN EXECUTE format('SELECT wee5_cron.invoke(''/x'', target => %L)', n); END$$", ""},
        Ours{"DO $$BEGIN EXECUTE 'SELECT 5 %1' || x; EXECUTE 'SELECT invoke_cron_endpoint(''/50%s'')'; END$$",
             "/50%s"}));

class CallsSomebodyElse : public testing::TestWithParam<std::string_view> {};

TEST_P(CallsSomebodyElse, IsNotOneOfOurCalls) {
  const JobCommand command = read(GetParam());
  EXPECT_FALSE(command.calls_us());
  EXPECT_FALSE(command.endpoint_path);
  EXPECT_FALSE(command.is_plain);
}

INSTANTIATE_TEST_SUITE_P(
    Commands, CallsSomebodyElse,
    testing::Values("", ";", "VACUUM", "SELECT 'invoke_cron_endpoint(''/x'')'", "SELECT $$invoke_cron_endpoint('/x')$$",
                    "-- SELECT invoke_cron_endpoint('/x')", "/* SELECT invoke_cron_endpoint('/x') */ SELECT 1",
                    "SELECT \"SELECT invoke_cron_endpoint('/x')\"", "SELECT \"Invoke_Cron_Endpoint\"('/x')",
                    "SELECT \"Public\".invoke_cron_endpoint('/x')", "SELECT invoke_cron_endpoint",
                    "SELECT invoke_cron_endpoint()", "SELECT invoke_cron_endpoint(*)",
                    "SELECT invoke_cron_endpoint(VARIADIC array['/x'])", "SELECT invoke_cron_endpoint(path => '/x')",
                    "SELECT public.invoke_cron_endpoint('seo', '/api/seo', 'GET')",
                    "SELECT invoke_cron_endpoint('/x', '/y')", "SELECT theirs.invoke_cron_endpoint('/x')",
                    "SELECT wee5_cron.invoke_cron_endpoint('/x')", "SELECT my_invoke_cron_endpoint('/x')",
                    "SELECT invoke_cron_endpoint2('/x')", "SELECT invoke_cron_endpoint$('/x')",
                    "SELECT my.invoke('/x')", "SELECT invoke('/x')", "CALL run('/x')", "SELECT wee5_cron.harvest()",
                    "SELECT wee5_cron.invoke()", "SELECT wee5_cron.prune()", "SELECT (x).invoke_cron_endpoint('/x')",
                    "SELECT a.b.public.invoke_cron_endpoint('/x')", "DROP FUNCTION invoke_cron_endpoint(text)",
                    "GRANT EXECUTE ON FUNCTION public.invoke_cron_endpoint(text) TO web",
                    "CREATE FUNCTION invoke_cron_endpoint(text) RETURNS void LANGUAGE sql AS 'SELECT'",
                    "INSERT INTO invoke_cron_endpoint(a) VALUES (1)", "CREATE TABLE invoke_cron_endpoint(a int)",
                    "WITH invoke_cron_endpoint(a) AS (SELECT 1) SELECT 1", "EXECUTE invoke_cron_endpoint('/x')",
                    "EXECUTE 'SELECT invoke_cron_endpoint(''/x'')'",
                    "DO $$BEGIN EXECUTE format('SELECT %I.invoke_cron_endpoint(''/x'')', s); END$$",
                    "DO $$BEGIN EXECUTE format('SELECT %s(''/x'')', f); END$$",
                    "DO $$BEGIN EXECUTE 'SELECT invoke_cron_endpoint(' || quote_literal(p) || ')'; END$$",
                    "DO $$BEGIN EXECUTE other('SELECT invoke_cron_endpoint(''/x'')'); END$$",
                    "DO $$BEGIN EXECUTE other.format('SELECT invoke_cron_endpoint(''/x'')'); END$$",
                    "DO $$BEGIN PERFORM f('SELECT invoke_cron_endpoint(''/x'')'); END$$",
                    "DO $$BEGIN EXECUTE E'SELECT invoke_cron_endpoint(''/x'') \\x00'; END$$",
                    // Postgres refuses all of such a text.
                    "SELECT invoke_cron_endpoint('/x'); SELECT 'open", "SELECT invoke_cron_endpoint('/x') /* open",
                    "SELECT invoke_cron_endpoint('/x') /* open /* */", "SELECT invoke_cron_endpoint('/x'), \"open",
                    "SELECT invoke_cron_endpoint($a$/x$b$)", "SELECT invoke_cron_endpoint(E'/x\\')",
                    "SELECT invoke_cron_endpoint('/x'", "SELECT invoke_cron_endpoint('/\xff')",
                    "SELECT invoke_cron_endpoint('/x\0')"sv, "SELECT U&\"invoke\\00zzcron_endpoint\"('/x')"));

TEST(JobCommand, ReportsASchemaThatIsNotOurs) {
  const JobCommand command = read("SELECT \"My Schema\".invoke_cron_endpoint('/x')");
  EXPECT_FALSE(command.calls_us());
  EXPECT_EQ(command.other_schema, "My Schema");
  EXPECT_EQ(command.other_path, "/x");
  EXPECT_TRUE(read_job_command("SELECT \"My Schema\".invoke_cron_endpoint('/x')", "My Schema").calls_us());
  EXPECT_FALSE(read("SELECT theirs.invoke_cron_endpoint('/x', 1)").other_schema);
}

// What format() puts in could be ours.
TEST(JobCommand, KnowsNoSchemaThatFormatPutsIn) {
  EXPECT_FALSE(read("DO $$BEGIN EXECUTE format('SELECT %I.invoke_cron_endpoint(''/x'')', s); END$$").other_schema);
  EXPECT_FALSE(read("DO $$BEGIN EXECUTE format('SELECT \"%s\".invoke_cron_endpoint(''/x'')', s); END$$").other_schema);
  EXPECT_EQ(read("DO $$BEGIN EXECUTE format('SELECT theirs.invoke_cron_endpoint(%L)', p); END$$").other_schema,
            "theirs");
}

TEST(JobCommand, ReportsEachFunctionOnce) {
  const JobCommand command =
      read("SELECT wee5_cron.invoke('/a'); CALL wee5_cron.run('/b'); SELECT wee5_cron.invoke('/c')");
  EXPECT_EQ(command.functions, (std::vector{JobFunction::kInvoke, JobFunction::kRun}));
  EXPECT_EQ(name_of(JobFunction::kInvokeCronEndpoint), "invoke_cron_endpoint");
  EXPECT_EQ(name_of(JobFunction::kInvoke), "invoke");
  EXPECT_EQ(name_of(JobFunction::kRun), "run");
}

TEST(JobCommand, RecognizesAHarvestJob) {
  EXPECT_TRUE(read("SELECT wee5_cron.harvest()").harvests);
  EXPECT_TRUE(read("select WEE5_CRON . \"harvest\" ( ) ;").harvests);
  EXPECT_FALSE(read("SELECT harvest()").harvests);
  EXPECT_FALSE(read("SELECT 'wee5_cron.harvest()'").harvests);
}

class Plain : public testing::TestWithParam<std::string_view> {};
TEST_P(Plain, IsOneCallOfOnePath) { EXPECT_TRUE(read(GetParam()).is_plain); }

INSTANTIATE_TEST_SUITE_P(Commands, Plain,
                         testing::Values("SELECT invoke_cron_endpoint('/a')",
                                         " select * from \"public\" . invoke_cron_endpoint ( '/it''s' ) ; ",
                                         "SELECT public.invoke_cron_endpoint(endpoint_path => '/a') AS id;",
                                         "CALL wee5_cron.run('/a')", "SELECT wee5_cron.invoke('/a'::text)",
                                         "SELECT invoke_cron_endpoint($$/a$$) id",
                                         "SELECT invoke_cron_endpoint(E'/a\\'') ",
                                         ";;SELECT invoke_cron_endpoint('/a');;",
                                         "/* nightly */ SELECT invoke_cron_endpoint('/a') -- done"));

class NotPlain : public testing::TestWithParam<std::string_view> {};
TEST_P(NotPlain, IsMoreOrLessThanOneCall) {
  EXPECT_TRUE(read(GetParam()).calls_us());
  EXPECT_FALSE(read(GetParam()).is_plain);
}

INSTANTIATE_TEST_SUITE_P(
    Commands, NotPlain,
    testing::Values("SELECT invoke_cron_endpoint('/a') WHERE now() < '2026-01-01'",
                    "SELECT invoke_cron_endpoint('/a'), invoke_cron_endpoint('/b')",
                    "SELECT invoke_cron_endpoint('/a'); SELECT invoke_cron_endpoint('/b')",
                    "SELECT invoke_cron_endpoint('/a' || n) FROM t", "SELECT wee5_cron.invoke('/a', timeout => '1 s')",
                    "SELECT wee5_cron.invoke('/posts', 'POST')", "DELETE FROM t; CALL wee5_cron.run('/a')",
                    "DO 'BEGIN PERFORM invoke_cron_endpoint(''/a''); END'", "SELECT wee5_cron.run('/a')",
                    "CALL wee5_cron.invoke('/a')", "CALL wee5_cron.run('/a') AS x",
                    "SELECT 1, invoke_cron_endpoint('/a')",
                    "SELECT invoke_cron_endpoint('/a') FROM generate_series(1, 3)",
                    "BEGIN; SELECT invoke_cron_endpoint('/a')", "SELECT DISTINCT invoke_cron_endpoint('/a')",
                    "EXPLAIN SELECT invoke_cron_endpoint('/a')"));

// Whoever may use pg_cron writes the command, and the worker reads it.
TEST(JobCommand, HostileTextsTakeNoTime) {
  std::string nested;
  for (int i = 0; i < 5'000; ++i) nested += "invoke_cron_endpoint(";
  EXPECT_FALSE(read(nested).calls_us());
  nested += "'/x'" + std::string(5'000, ')');
  EXPECT_TRUE(read(nested).calls_us());
  EXPECT_FALSE(read("SELECT invoke_cron_endpoint(" + std::string(50'000, '(')).calls_us());
  EXPECT_TRUE(
      read("SELECT invoke_cron_endpoint(" + std::string(50'000, '(') + "'/x'" + std::string(50'001, ')')).calls_us());
  EXPECT_FALSE(read(std::string(1'000'000, '/') + "*").calls_us());
  EXPECT_TRUE(read("SELECT " + std::string(1'000'000, '+') + "invoke_cron_endpoint('/x')").calls_us());
  EXPECT_FALSE(read("SELECT invoke_cron_endpoint('/x') -- " + std::string(2'000'000, 'x')).calls_us());
  std::string executes;
  for (int i = 0; i < 50'000; ++i) executes += "execute ((format (";
  EXPECT_FALSE(read("DO $$" + executes + "$$").calls_us());
  EXPECT_FALSE(
      read("DO $$execute format('" + std::string(500'000, '%') + std::string(500'000, '1') + "')$$").calls_us());
}

}  // namespace
}  // namespace wee5::core
