# The secret must not be where nobody put it on purpose: the whole data directory with its WAL, the log at its
# highest level, statistics, notifications, doctor(); after failures, timeouts, a crash and a restart, on both transports.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use File::Find;
use MIME::Base64 qw(encode_base64);

# Letters that no encoding changes, and some that every encoding changes.
my $canary   = 'canaryInTheCoalMine4711/+=& x';
my $core     = 'canaryInTheCoalMine4711';
my $receiver = Wee5Cron::Receiver->start(secret => $canary);
# The bytes of base64 that do not depend on what follows.
my @forms = ($core, encode_base64(substr($canary, 0, 21), ''), unpack('H*', $core));
my $as_plans_are_printed = join '', unpack 'C*', $core;  # whose lines are broken anywhere

# Each place, with its texts or bytes, which must not contain the secret.
my $label = '';
sub holds_no_secret {
    my ($text, $where) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @found = grep { index($text, $_) >= 0 } @forms;
    push @found, $as_plans_are_printed if index($text =~ s/\s//gr, $as_plans_are_printed) >= 0;
    my $good  = ok(length($text) && !@found, "$label: the secret is not in $where");
    unless ($good) {
        diag(@found ? "found as $found[0]" : 'nothing to look at');
        my $at = @found ? index($text, $found[0]) : 0;
        diag(substr($text, $at > 300 ? $at - 300 : 0, 500) =~ s/[^\n -~]/./gr) if @found;
    }
    return;
}

my $common = <<'CONF';
restart_after_crash = on
pg_stat_statements.track = all
pg_stat_statements.track_utility = on
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_verbose = on
log_min_duration_statement = 0
log_statement = all
log_error_verbosity = verbose
log_temp_files = 0
log_connections = on
work_mem = '64kB'
autovacuum = off
wal_level = logical
wal_recycle = off
wal_keep_size = '1GB'
debug_print_plan = on
debug_print_rewritten = on
CONF

# What happens, and where the secret is searched for; all at once for a transport.
sub hunt {
    my ($transport, $log_level) = @_;
    $label = $transport;
    my $pg_net = $transport eq 'pg_net';
    my $node   = Wee5Cron::Node->new_configured($transport,
        preload => 'pg_stat_statements,auto_explain,pg_cron,' . ($pg_net ? 'pg_net,' : '') . 'wee5_cron',
        conf    => $common . ($pg_net ? "pg_net.database_name = 'postgres'\n" : ''));
    $node->start;
    # ALTER DATABASE itself makes its value visible. The page of the catalog with the value is written once more behind it,
    # so that it does not go into the WAL as a whole later on.
    $node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_cron;' . ($pg_net ? 'CREATE EXTENSION pg_net' : ''));
    $node->install('postgres', api_url => $receiver->url, secret => $canary);
    $node->safe_psql('postgres', "SELECT wee5_cron.configure_target('other', '@{[ $receiver->url ]}', '$core-of-the-target', headers => '{\"X-Key\": \"$core-of-the-header\"}')");
    $node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.transport = '$transport'; VACUUM FREEZE pg_db_role_setting; VACUUM FREEZE pg_database");
    $node->safe_psql('postgres', 'CHECKPOINT');
    $node->safe_psql('postgres', 'SELECT pg_switch_wal()');
    my $first_segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
    $node->safe_psql('postgres', 'SELECT pg_stat_statements_reset()');
    $node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type ILIKE '%pg_net%'") if $pg_net;
    my $log_before = -s $node->logfile;
    $node->set_server('log_min_messages', $log_level);

    my $listener = $node->background_psql('postgres');
    $listener->query_safe('LISTEN wee5_cron');
    $node->safe_psql('postgres', "INSERT INTO wee5_cron.endpoint (endpoint_path, alert_after) VALUES ('/leak', 1)");

    my $leaks = grep { $_->{bearer} eq 'match' } $receiver->requests('/leak');
    my @paths = ('/status/200', '/status/401', '/status/500', '/leak', '/leak?status=500', '/leak?status=401', '/drop', '/garbage', '/html?status=404', '/echo');
    push @paths, map { "other:$_" } '/leak', '/leak?status=401', '/drop', '/echo';
    $node->call('postgres', $_) for @paths;
    $node->call('postgres', '/slow?ms=20000', "timeout => '300 ms'");
    $node->call('postgres', '/leak', "'POST', '{\"a\": 1}', '{\"X-A\": \"b\"}'");
    $node->safe_psql('postgres', "SELECT cron.schedule('of the canary', '0 0 1 1 *', \$\$SELECT invoke_cron_endpoint('/x')\$\$); SELECT wee5_cron.run_now('of the canary')");
    $node->wait_until_all_finished('postgres');
    is(scalar(grep { $_->{bearer} eq 'match' } $receiver->requests('/leak')), $leaks + 4, "$label: the app got the secret in each request");
    $node->psql('postgres', "CALL wee5_cron.run('/leak?status=500')");
    $node->no_retries('postgres', '/down');
    $receiver->close_port;
    $node->finished('postgres', $node->call('postgres', '/down'));
    $receiver->open_port;
    # Sorting our tables' rows on disk.
    $node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT DISTINCT i.*, n FROM wee5_cron.invocation i, generate_series(1, 500) n ORDER BY response_body, n) many');

    my @errors;
    for my $statement ("SELECT invoke_cron_endpoint('//x')", "SELECT wee5_cron.invoke('/x', 'BREW')", 'SHOW app.settings.cron_secret',
        "SELECT current_setting('app.settings.cron_secret')", "SELECT 1/0 FROM wee5_cron.doctor()", "DO \$\$ BEGIN PERFORM invoke_cron_endpoint('x'); END \$\$",
        "BEGIN READ ONLY; SELECT invoke_cron_endpoint('/x')", "SELECT invoke_cron_endpoint('/x') / 0") {
        my $role = $statement =~ /current_setting|SHOW/ ? 'caller' : undef;
        $node->safe_psql('postgres', "DROP ROLE IF EXISTS caller; CREATE ROLE caller LOGIN") if $role;
        my $error = $node->error_of('postgres', $statement, role => $role) or die "no error: $statement";
        push @errors, $error->{text};
    }
    holds_no_secret("@errors", 'errors and their contexts');

    # Any role may display its plans, and those of nested statements as well.
    $node->safe_psql('postgres', "CREATE ROLE curious LOGIN; SELECT wee5_cron.grant_to('curious', 'operate')");
    my $curious = join ' ', map { "SET $_;" } 'client_min_messages = log', map { "debug_print_$_ = on" } qw(parse rewritten plan);
    for my $statement ("SELECT invoke_cron_endpoint('/status/200')", "SELECT invoke_cron_endpoint('other:/status/200')", "SELECT wee5_cron.invoke('/status/200', 'POST', '{\"a\": 1}')", "SELECT wee5_cron.retry(1)",
        'SELECT wee5_cron.harvest()', 'SELECT count(*) FROM wee5_cron.doctor()', 'SELECT count(*) FROM wee5_cron.job_status') {
        my (undef, undef, $shown) = $node->psql('postgres', "$curious $statement", extra_params => [ '-U', 'curious' ]);
        like($shown, qr/PLANNEDSTMT/, "$label: a role can display the plans of $statement");
        unlike($shown, qr/ERROR/, '... which runs without an error');
        holds_no_secret($shown, 'displayed plans');
    }
    $node->wait_until_all_finished('postgres');

    # A crash while one request hangs, then a restart.
    $node->call('postgres', '/hang');
    $receiver->wait_for_requests('/hang', $pg_net ? 2 : 1);
    holds_no_secret($node->safe_psql('postgres', 'SELECT to_json(a) FROM pg_stat_activity a'), 'pg_stat_activity');
    my $notified = $listener->query_safe('SELECT 1');
    $listener->quit;
    like($notified, qr/"event": "failing"/, "$label: an alert is sent for the app that sends the secret back");
    holds_no_secret($notified, 'that alert');
    my $statistics = $node->safe_psql('postgres', 'SELECT query FROM pg_stat_statements');
    my $worker = $node->wait_for_worker('postgres');
    kill 'KILL', $worker;
    $node->poll_query_until('postgres', "SELECT NOT pg_is_in_recovery() AND pg_postmaster_start_time() IS NOT NULL") or die "the server did not come back\n";
    $node->wait_for_worker('postgres', $worker);
    $receiver->release_for_good;
    $node->wait_until_all_finished('postgres');
    $receiver->hold;
    $node->restart;
    $node->finished('postgres', $node->call('postgres', '/status/200'));
    $node->wait_until_all_finished('postgres');

    holds_no_secret($statistics, 'pg_stat_statements');
    holds_no_secret($node->safe_psql('postgres', 'SELECT to_json(d) FROM wee5_cron.doctor() d'), 'doctor()');
    my @tables = split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'v', 'p', 'm') AND relnamespace IN ('wee5_cron'::regnamespace, 'cron'::regnamespace) ORDER BY 1
SQL
    holds_no_secret(join("\n", map { "$_: " . $node->safe_psql('postgres', "SELECT to_json(t) FROM $_ t") } @tables), 'tables and views of wee5_cron and pg_cron');
    my ($dump, $problems);
    IPC::Run::run([ 'pg_dump', '-d', $node->connstr('postgres') ], '>', \$dump, '2>', \$problems) or die "pg_dump: $problems";
    holds_no_secret($dump, 'pg_dump');

    # Files. Buffers are written to disk, and the current WAL segment is ended, so that everything before it is complete.
    $node->safe_psql('postgres', 'CHECKPOINT');
    my $last_segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
    my @segments = grep { $_ ge $first_segment && $_ le $last_segment } map { /([0-9A-F]{24})$/ ? $1 : () } glob($node->data_dir . '/pg_wal/*');
    my $wal = join '', map { slurp_file($node->data_dir . "/pg_wal/$_") } @segments;
    like($wal, qr{/leak}, "$label: the WAL contains our rows");
    holds_no_secret($wal, 'the WAL (' . scalar(@segments) . ' segments)');
    my %relation = map { $_->{path} => $_->{name} }
      $node->rows('postgres', "SELECT pg_relation_filepath(oid) AS path, oid::regclass AS name FROM pg_class WHERE pg_relation_filepath(oid) IS NOT NULL");
    $node->stop;
    my $log = substr slurp_file($node->logfile), $log_before;
    like($log, qr/invoke_cron_endpoint/, "$label: the log contains statements");
    like($log, qr/Query Text:/,          "$label: ... and plans");
    like($log, qr/temporary file: path/, "$label: ... and temporary files");
    # Raw answers would be among the parameters, which auto_explain logs from PostgreSQL 16 on.
    unlike($log, qr/Query Text: [^\n]*(?:convert_to\(result|jsonb_each_text\(CASE)/, "$label: ... but no statement that records an answer");
    # pg_net's worker writes a raw answer into its table, by a statement whose plan is shown.
    if ($pg_net) {
        my $of = qr/^\S+ \S+ \S+ \[(\d+)\]/;
        my @lines = split /\n(?!\t)/, $log;
        my %pg_nets = map { /net\._http_response\(id/ && /$of/ ? ($1 => 1) : () } @lines;
        $log = join "\n", grep { !(/$of/ && $pg_nets{$1}) } @lines;
    }
    holds_no_secret($log, "the server's log");
    # Every other file: only the catalog that ALTER DATABASE wrote contains it, and pg_net's own tables.
    my @with;
    find({ no_chdir => 1, wanted => sub {
        return unless -f && -s _;
        my $file = $File::Find::name =~ s/^\Q@{[ $node->data_dir ]}\E\///r;
        return if $file =~ m{^pg_wal/};
        my $bytes = slurp_file($File::Find::name);
        push @with, $relation{ $file =~ s/(?:_\w+)?(?:\.\d+)?$//r } // $file if grep { index($bytes, $_) >= 0 } @forms;
    } }, $node->data_dir);
    my $expected = $pg_net ? qr/^(?:pg_db_role_setting|net\.http_request_queue|net\._http_response|pg_toast\.\w+)$/ : qr/^pg_db_role_setting$/;
    is(join(' ', grep { $_ !~ $expected } @with), '', "$label: the secret is in no other file of the data directory");
    ok((grep { $_ eq 'pg_db_role_setting' } @with), "$label: ... and the search finds it where it is stored");
    $node->log_is_sane("$label: the log records no crash");
    return;
}

hunt('builtin', 'debug5');
SKIP: {
    skip 'pg_net not available', 1 unless pg_net_available();
    # pg_net itself logs the headers of its requests at debug levels.
    hunt('pg_net', 'info');
}
done_testing();
