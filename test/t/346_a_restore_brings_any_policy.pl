# A policy that the table would refuse today never makes a restore or logical replication fail. Calls ignore its values that
# are out of bounds, and doctor() reports them.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Doctor;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $tmp      = PostgreSQL::Test::Utils::tempdir();
my $node     = Wee5Cron::Node->start_new('main', init => { allows_streaming => 'logical' });
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(origin replicated);
$node->install($_, api_url => $receiver->url, secret => 'the secret', pg_cron => 0) for qw(origin replicated);

# Without the trigger, as another version with other bounds would have stored the policies.
my %out_of_bounds = (
    timeout      => "'25 days'",
    max_attempts => 0,
    retry_on     => "'always'",
    retry_delays => "'{}'",
    retry_window => "'-1 hour'",
    overlap      => "'replace'",
    alert_after  => -1,
);
my @columns = sort keys %out_of_bounds;
$node->safe_psql('origin', join '', 'ALTER TABLE wee5_cron.endpoint DISABLE TRIGGER check_endpoint;',
    (map { "INSERT INTO wee5_cron.endpoint (endpoint_path, $_) VALUES ('/status/500?of=$_', $out_of_bounds{$_});" } @columns),
    sprintf(q{INSERT INTO wee5_cron.endpoint (endpoint_path, %s) VALUES ('/status/503', %s);}, join(',', @columns), join(',', @out_of_bounds{@columns})),
    q{INSERT INTO wee5_cron.endpoint (endpoint_path, retry_delays) VALUES ('/status/503?n=null', '{1s,NULL}'), ('/status/503?n=negative', '{1s,-1s}');
      INSERT INTO wee5_cron.endpoint (endpoint_path, method) VALUES ('/fetch', 'FETCH');
      INSERT INTO wee5_cron.endpoint (endpoint_path, body) VALUES ('/body', '{}');
      INSERT INTO wee5_cron.endpoint (endpoint_path, headers) VALUES ('/headers', '["X-A"]');
      INSERT INTO wee5_cron.endpoint (endpoint_path) VALUES ('no/path');
      ALTER TABLE wee5_cron.endpoint ENABLE ALWAYS TRIGGER check_endpoint;});
my $policies = 'SELECT count(*), sum(hashtext(e::text)::bigint) FROM wee5_cron.endpoint e';
my $expected = $node->safe_psql('origin', $policies);

# Whatever the mode of the dump.
my %restore_with = (
    'pg_restore'                   => [ '-Fc' ],
    'pg_restore --jobs'            => [ '-Fc' ],
    'psql'                         => [ '-Fp' ],
    'psql, by INSERT'              => [ '-Fp', '--inserts' ],
    'psql, with row-level security' => [ '-Fp', '--enable-row-security' ],
    'pg_restore --data-only'       => [ '-Fc', '--table=wee5_cron.endpoint' ],
);
my $n = 0;
for my $way (sort keys %restore_with) {
    my $database = 'restored' . ++$n;
    $node->safe_psql('postgres', "CREATE DATABASE $database");
    $node->configure($database, api_url => $receiver->url, secret => 'the secret');
    $node->safe_psql($database, 'CREATE EXTENSION wee5_cron') if $way =~ /--data-only/;
    command_ok([ 'pg_dump', @{ $restore_with{$way} }, '-f', "$tmp/dump", $node->connstr('origin') ], "$way: the dump succeeds");
    my @restore = $way =~ /^psql/ ? ('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', "$tmp/dump", '-d')
      : ('pg_restore', '--exit-on-error', ($way =~ /--jobs/ ? '--jobs=2' : ()), ($way =~ /--data-only/ ? '--data-only' : ()), "$tmp/dump", '-d');
    command_ok([ @restore, $node->connstr($database) ], '... and the restore succeeds');
    is($node->safe_psql($database, $policies), $expected, '... and every policy is restored');
}

# By logical replication.
$node->safe_psql('origin', 'CREATE PUBLICATION policies FOR TABLE wee5_cron.endpoint');
$node->safe_psql('origin', q{SELECT pg_create_logical_replication_slot('policies', 'pgoutput')});
$node->safe_psql('replicated', sprintf(q{CREATE SUBSCRIPTION policies CONNECTION '%s' PUBLICATION policies WITH (create_slot = false)}, $node->connstr . ' dbname=origin'));
$node->poll_query_until('replicated', 'SELECT count(*) = 14 FROM wee5_cron.endpoint') or die 'the policies did not come';
is($node->safe_psql('replicated', $policies), $expected, 'logical replication copies every policy');
$node->safe_psql('origin', q{ALTER TABLE wee5_cron.endpoint DISABLE TRIGGER check_endpoint; UPDATE wee5_cron.endpoint SET max_attempts = -7 WHERE endpoint_path = '/status/503'});
$node->poll_query_until('replicated', 'SELECT count(*) = 1 FROM wee5_cron.endpoint WHERE max_attempts = -7') or fail('a change did not come');
$node->safe_psql('replicated', 'DROP SUBSCRIPTION policies');

# doctor() names each of them. Calls use the defaults, or say what is wrong.
my $doctor = Wee5Cron::Doctor->new($node, 'replicated');
$doctor->red('policies', 'warning', qr{/status/500\?of=$_: }, "a policy with $_ out of bounds") for @columns;
$doctor->red('policies', 'warning', $_, "a policy like $_") for qr{/fetch: .*FETCH}, qr{/body: .*body}, qr{/headers: .*headers}, qr{no/path: };
for my $column (grep { $_ ne 'alert_after' } @columns) {
    my $row = $node->finished('replicated', $node->call('replicated', "/status/500?of=$column"));
    fields_are($row, { status => 'failed', reason => 'http', attempts => 1, timeout => undef, exclusive => undef }, "a policy with $column out of bounds is ignored");
}
my $retried = $node->call('replicated', '/status/503');
$node->poll_query_until('replicated', "SELECT status = 'retrying' FROM wee5_cron.invocation WHERE id = $retried") or die;
is($node->safe_psql('replicated', "SELECT next_attempt_at - a.finished_at BETWEEN '7 s' AND '13 s' FROM wee5_cron.invocation i JOIN wee5_cron.attempt a ON a.invocation_id = i.id WHERE i.id = $retried"),
    't', 'retries use the default delays');
$node->finished('replicated', $node->call('replicated', '/status/500?of=alert_after')) for 1 .. 2;
is($node->safe_psql('replicated', q{SELECT failures, told FROM wee5_cron.trouble WHERE name = '/status/500?of=alert_after'}), '2|f', 'an alert comes after the default number of failures');
$node->raises('replicated', q{SELECT invoke_cron_endpoint('/fetch')}, '22023', 'a method that does not exist refuses the call', message => qr/FETCH/);

# A policy written by hand is checked at once, as before.
$node->raises('replicated', q{UPDATE wee5_cron.endpoint SET max_attempts = 0}, '22023', 'an invalid policy written in a session is refused', message => qr/max_attempts/);
$node->raises('replicated', q{SET row_security = off; INSERT INTO wee5_cron.endpoint (endpoint_path, max_attempts) VALUES ('/x', 0)}, '22023', '... even with one of the settings of a dump', message => qr/max_attempts/);
$node->safe_psql('replicated', 'DELETE FROM wee5_cron.endpoint');
$doctor->green('policies', 'without these policies');
$node->log_is_sane;
done_testing();
