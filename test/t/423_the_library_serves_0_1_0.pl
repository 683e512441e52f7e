# The regression tests of 0.1.0, with its SQL on this library: each function that the SQL of 0.1.0 declares still does what
# it did. regress/released/0.1.0/README.md says what is changed in them, and why.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $released = "$FindBin::RealBin/../../regress/released/0.1.0";
my $tmp      = PostgreSQL::Test::Utils::tempdir();
# The settings that these tests need.
my $node = Wee5Cron::Node->start_new('main', conf => 'wee5_cron.default_jobs = on');

# Every C function exists.
my $library = $node->config_data('--pkglibdir') . '/wee5_cron.so';
my $script  = slurp_file("$FindBin::RealBin/../../sql/released/wee5_cron--0.1.0.sql");
my @symbols = $script =~ /AS 'MODULE_PATHNAME', '(\w+)'/g;
cmp_ok(scalar @symbols, '>', 30, 'the SQL of 0.1.0 declares more than thirty functions in C');
for my $symbol (@symbols) {
    my $error = $node->error_of('postgres', "CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS int LANGUAGE c AS '$library', '$symbol'");
    is($error, undef, $symbol) if $error;
}
pass('... and the library has them all');

my @tests = qw(install jobs job_functions errors privileges job_status endpoint);
push @tests, 'harvest' if Wee5Cron::Test::fixture_installed('pg_net');
mkdir "$tmp/$_" or die "$tmp/$_: $!" for qw(sql expected);
for my $test (@tests) {
    my $sql = slurp_file("$released/sql/$test.sql");
    $sql =~ s/(CREATE EXTENSION wee5_cron\b[^;]*);/$1 VERSION '0.1.0';/g;
    $sql =~ s/^\\set VERBOSITY default\n//mg;
    $sql =~ s/^SET session_replication_role = replica;\n.*?^RESET session_replication_role;\n//ms;
    append_to_file("$tmp/sql/$test.sql",      "\\set VERBOSITY sqlstate\n$sql");
    append_to_file("$tmp/expected/$test.out", slurp_file("$released/expected/$test.out"));
}
my $good = PostgreSQL::Test::Utils::run_log(
    [ $ENV{PG_REGRESS}, '--bindir=' . $node->config_data('--bindir'), "--inputdir=$tmp", "--outputdir=$tmp", '--dbname=contrib_regression',
        '--no-locale', '--encoding=UTF8', '--host=' . $node->host, '--port=' . $node->port, @tests ]);
ok($good, "the regression tests of 0.1.0 pass: @tests") or diag(slurp_file("$tmp/regression.diffs"));
$node->log_is_sane;
done_testing();
