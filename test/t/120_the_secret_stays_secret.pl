# The secret appears in no log line, row, statement in pg_stat_activity, statistics or dump.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use MIME::Base64 qw(encode_base64);

my $canary   = 'canary/in+the+coal=mine 0815';
my $other    = 'another/canary+of=a target 4711';
my $receiver = Wee5Cron::Receiver->start(secret => $canary);
my $target   = Wee5Cron::Receiver->start(secret => $other);
my $node     = Wee5Cron::Node->start_new('main', preload => 'pg_stat_statements,pg_cron,wee5_cron', conf => <<'CONF');
pg_stat_statements.track = all
log_min_messages = debug1
log_min_error_statement = debug1
CONF

# ALTER DATABASE itself may show it. From here on, nothing may.
$node->install('postgres', api_url => $receiver->url, secret => $canary);
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()');
my $log_before = -s $node->logfile;
$node->safe_psql('postgres', "SELECT wee5_cron.configure_target('other', '@{[ $target->url ]}', '$other', headers => '{\"X-Key\": \"$other\"}')");
$node->safe_psql('postgres', "ALTER SYSTEM SET log_statement = 'all'; ALTER SYSTEM SET log_min_duration_statement = 0");
$node->set_server('log_error_verbosity', 'verbose');

# An app that answers, one that repeats the secret in every way, and one that is down.
my @paths = ('/status/200', '/status/401', '/status/500', '/leak', '/leak?status=500', '/leak?status=401', '/leak?status=308',
    '/redirect?to=https:%2F%2F127.0.0.1/x', '/drop', '/garbage', '/html?status=404');
my @paths_of_target = map { "other:$_" } '/status/401', '/leak', '/leak?status=500', '/leak?status=308', '/echo', '/garbage';
$node->call('postgres', $_) for @paths, @paths_of_target;
$node->call('postgres', '/echo', "method => 'POST', body => '{\"a\": 1}', headers => '{\"X-A\": \"b\"}'");
$node->call('postgres', '/slow?ms=5000', "timeout => '100 ms'");
$node->wait_until_all_finished('postgres');
is(scalar(grep { $_->{bearer} ne 'match' } $receiver->requests, $target->requests), 0, 'every request carries the secret of its app');
is(scalar(() = $target->requests), @paths_of_target, 'every call of the target reaches it');
is(scalar(my @requests = $receiver->requests), @paths + 2, 'every call reaches the app');
$node->no_retries('postgres', '/down');
$receiver->close_port;
$node->finished('postgres', $node->call('postgres', '/down'));
$receiver->open_port;

# Errors that a caller can provoke.
$node->error_of('postgres', $_)
  for "SELECT invoke_cron_endpoint('//evil')", "SELECT wee5_cron.invoke('/x', 'BREW')", "SELECT wee5_cron.invoke('/x', headers => '{\"Authorization\": \"x\"}')";

# While a request hangs.
$node->call('postgres', '/hang');
$receiver->wait_for_requests('/hang');

# Encoded in every way that an app or a library might use.
my @percent = map { s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ger } $canary, $other;
my @forms = ($canary, $other, @percent, (map { lc } @percent), map { encode_base64($_, '') } $canary, $other);

sub holds_no_secret {
    my ($text, $where) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @found = grep { index($text, $_) >= 0 } @forms;
    my $good = ok(length($text) && !@found, "the secret is not in $where");
    unless ($good) {
        diag(length $text ? "found as $_" : 'nothing to look at') for @found ? @found : '';
        diag($_) for grep { my $line = $_; grep { index($line, $_) >= 0 } @forms } split /\n/, $text;
    }
    return;
}

holds_no_secret($node->safe_psql('postgres', 'SELECT to_json(a) FROM pg_stat_activity a'), 'pg_stat_activity');
$receiver->release;
$node->wait_until_all_finished('postgres');
for my $table (split /\n/, $node->safe_psql('postgres', "SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = 'wee5_cron'::regnamespace")) {
    my $rows = $node->safe_psql('postgres', "SELECT to_json(t) FROM $table t");
    holds_no_secret("$table: $rows", $table);
}
holds_no_secret($node->safe_psql('postgres', 'SELECT query FROM pg_stat_statements'), 'pg_stat_statements');

my ($dump, $errors);
IPC::Run::run([ 'pg_dump', '-d', $node->connstr('postgres') ], '>', \$dump, '2>', \$errors) or die "pg_dump: $errors";
like($dump, qr/COPY wee5_cron\.invocation/, 'pg_dump carries the ledger');
holds_no_secret($dump, 'pg_dump');

# Processes, as ps shows them.
my $pid = $node->wait_for_worker('postgres');
holds_no_secret(join("\n", map { slurp_file("/proc/$pid/$_") } qw(cmdline environ)), "the worker's command line and environment")
  if -r "/proc/$pid/cmdline";

# The worker ends and returns, and the server stops, all at the highest log level.
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
$node->wait_for_worker('postgres', $pid);
$node->stop;
my $log = substr slurp_file($node->logfile), $log_before;
like($log, qr/invoke_cron_endpoint/, 'the log contains statements, so it was searched at a high log level');
holds_no_secret($log, "the server's log");

# A secret from the server's configuration is also redacted in pg_net's answers.
my $on_command_line = 'canary-of-the-command-line';
PostgreSQL::Test::Utils::system_or_bail('pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', "-c app.settings.cron_secret=$on_command_line", 'start');
$node->_update_pid(1);
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.cron_secret');
is($node->safe_psql('postgres', "SELECT wee5_cron.redact_for('postgres', 'it is $on_command_line, they say')"), 'it is [secret], they say',
    "the secret from the command line is redacted in pg_net's answers");
$node->stop;

done_testing();
