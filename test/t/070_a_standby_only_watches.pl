# A standby has no worker and sends nothing. Once promoted, it has one and delivers what the primary left.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $primary = Wee5Cron::Node->new_configured('primary', conf => 'max_prepared_transactions = 5', init => { allows_streaming => 1 });
$primary->start;
$primary->install('postgres', api_url => $receiver->url, secret => 'the secret');
$primary->backup('base');

my $standby = Wee5Cron::Node->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# A session on the standby can wait for a call of the primary.
my $watched = $primary->call('postgres', '/watched/hang');
$receiver->wait_for_requests('/watched/hang');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
is($standby->safe_psql('postgres', "SELECT finished_at IS NULL FROM wee5_cron.wait_for($watched, '0')"), 't', 'wait_for works on a standby');
my $session = $standby->background_psql('postgres');
$session->query_until(qr/asked/, "\\echo asked\nSELECT 'got ' || status || ' ' || http_status FROM wee5_cron.wait_for($watched, '1 hour');\n");
$standby->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'active' AND wait_event_type = 'Extension' AND query LIKE '%wait_for%'");
$receiver->release(201);
like($session->query_until(qr/^got .*$/m, ''), qr/^got succeeded 201$/m, '... and returns once the end of the call has been replayed');
$session->quit;
$standby->raises('postgres', 'SELECT wee5_cron.wait_for(987654321)', '02000', 'wait_for() of an unknown id on a standby is an error', hint => qr/committed/);
$standby->raises('postgres', "CALL wee5_cron.run('/on-standby')", '25006', 'run() on a standby is an error');

my $hanging = $primary->block_the_wire('postgres', $receiver);
my $queued  = $primary->call('postgres', '/queued');
$primary->safe_psql('postgres', "BEGIN; SELECT invoke_cron_endpoint('/prepared'); PREPARE TRANSACTION 'on the primary'");
$primary->safe_psql('postgres', 'CHECKPOINT');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));

is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'wee5_cron%'"),
    0, 'a standby has neither launcher nor worker');
fields_are($standby->invocation('postgres', $queued), { status => 'queued' }, "a standby shows the primary's queue");
is($standby->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.worker'), 0, 'the view worker is empty on a standby');
$standby->raises('postgres', "SELECT invoke_cron_endpoint('/on-standby')", '25006', 'a call on a standby is an error');
is(scalar(my @queued = $receiver->requests('/queued')), 0, 'a standby sends nothing');

$primary->stop('immediate');
$receiver->release_for_good;
$standby->promote;
$receiver->wait_for_requests('/queued');
pass('a promoted standby sends what the primary left in the queue');
fields_are($standby->finished('postgres', $queued),  { status => 'succeeded' }, '... and records it');
fields_are($standby->finished('postgres', $hanging), { status => 'succeeded' }, 'a promoted standby sends again what the primary had on the wire');
my %keys = map { $_->{headers}{'idempotency-key'} => 1 } $receiver->requests('/hang');
is(scalar(keys %keys), 1, '... with the same idempotency key');
ok($standby->wait_for_worker('postgres'), 'a promoted standby has a worker');
fields_are($standby->finished('postgres', $standby->call('postgres', '/new')), { status => 'succeeded' }, 'a promoted standby delivers new calls');
is(scalar(my @undecided = $receiver->requests('/prepared')), 0, 'a call prepared on the primary is not sent before the new primary decides');
$standby->safe_psql('postgres', "COMMIT PREPARED 'on the primary'");
$receiver->wait_for_requests('/prepared');
pass('... and is sent after COMMIT PREPARED there');

$standby->log_is_sane;
done_testing();
