# A database that receives another database's ledger by logical replication makes none of its calls: not while it is
# subscribed, not after the subscription has ended, not after a restart, and not if pg_createsubscriber created it.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my %receiver = map { $_ => Wee5Cron::Receiver->start(secret => 'the secret') } qw(publisher subscriber);
my $publisher  = Wee5Cron::Node->start_new('publisher', init => { allows_streaming => 'logical' });
my $subscriber = Wee5Cron::Node->start_new('subscriber', init => { allows_streaming => 'logical' });
# Both databases have the same oid: the rows of wee5_cron.armed name the database postgres.
$publisher->install('postgres', api_url => $receiver{publisher}->url, secret => 'the secret', pg_cron => 0);
$subscriber->install('postgres', api_url => $receiver{subscriber}->url, secret => 'the secret', pg_cron => 0);
$publisher->safe_psql('postgres', 'CREATE PUBLICATION p FOR ALL TABLES');

my $connection = $publisher->connstr . ' dbname=postgres';
sub subscribe {
    my ($options) = @_;
    $subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '$connection' PUBLICATION p" . ($options // ''));
    return;
}
sub subscriber_is_silent {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($subscriber->safe_psql('postgres', 'SELECT wee5_cron.is_armed(), wee5_cron.has_mark()'), 'f|f', "$name: the subscriber has no mark");
    my $call = $subscriber->error_of('postgres', q{SELECT invoke_cron_endpoint('/by-hand')}) // {};
    is($call->{sqlstate}, '55000', "$name: a call raises");
    like($call->{hint}, qr/SELECT wee5_cron\.arm\(\);/, '... and its hint says how to arm');
    is(scalar(() = $receiver{subscriber}->requests(qr{^/})), 0, '... and its app got no request');
    return;
}
sub mark_is_gone {
    return $subscriber->poll_query_until('postgres', 'SELECT NOT wee5_cron.has_mark()');
}

# The subscriber was armed before: when the subscription begins, one call of the publisher is on the wire and one is queued.
is($subscriber->safe_psql('postgres', 'SELECT wee5_cron.is_armed()'), 't', 'before the subscription the database is armed');
my $hanging = $publisher->block_the_wire('postgres', $receiver{publisher});
my $queued  = $publisher->call('postgres', '/queued');
subscribe();
$subscriber->poll_query_until('postgres', "SELECT count(*) = 2 FROM wee5_cron.invocation") or die 'the ledger did not come';
ok(mark_is_gone(), 'the worker of a subscriber removes the mark');
$subscriber->poll_query_until('postgres', q{SELECT last_error ~ '^disarmed: the ledger comes from another database' FROM wee5_cron.worker WHERE datname = 'postgres'});
subscriber_is_silent('subscribed');
fields_are($subscriber->one_row('postgres', q{SELECT * FROM wee5_cron.doctor() WHERE check_name = 'subscription_target'}),
    { status => 'error', detail => qr/by subscription "s"/, hint => qr/DROP SUBSCRIPTION s;\nSELECT wee5_cron\.arm\(\);$/ }, 'doctor() reports that the ledger comes from a subscription');
fields_are($subscriber->one_row('postgres', q{SELECT * FROM wee5_cron.doctor() WHERE check_name = 'armed'}),
    { status => 'error', detail => qr/was disarmed at .*by subscription "s"/ }, '... and that the database is disarmed');
$subscriber->raises('postgres', 'SELECT wee5_cron.arm()', '55000', 'arm() is refused meanwhile', message => qr/by subscription "s"/,
    hint => qr/DROP SUBSCRIPTION s; SELECT wee5_cron\.arm\(\);/);
# Calls of the publisher that its own pg_net carries. There is none here to answer them, and they are not lost.
my $open = q{SELECT string_agg(concat_ws(' ', endpoint_path, status, reason, attempts), ', ' ORDER BY id) FROM wee5_cron.invocation WHERE transport = 'pg_net'};
$subscriber->safe_psql('postgres', q{INSERT INTO wee5_cron.invocation (id, endpoint_path, transport, status, attempts, next_attempt_at) VALUES
    (-2, '/outstanding', 'pg_net', 'queued', 0, NULL), (-1, '/due', 'pg_net', 'retrying', 1, now())});
sub harvest_does_nothing {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($subscriber->safe_psql('postgres', 'SELECT wee5_cron.harvest()'), 0, "$name: harvest() records nothing");
    is($subscriber->safe_psql('postgres', $open), '/outstanding queued 0, /due retrying 1', '... and hands over nothing');
    return;
}
harvest_does_nothing('subscribed');

# The publisher's mark arrives as rows, and does not arm the subscriber.
$publisher->safe_psql('postgres', 'SELECT wee5_cron.disarm(); SELECT wee5_cron.arm()');
$publisher->wait_for_catchup('s');
subscriber_is_silent('the publisher was armed again');
$subscriber->restart;
$subscriber->wait_for_worker('postgres');
subscriber_is_silent('restarted');

# The end of the subscription.
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION s');
subscriber_is_silent('after DROP SUBSCRIPTION');
harvest_does_nothing('after DROP SUBSCRIPTION');
$subscriber->restart;
$subscriber->wait_for_worker('postgres');
$subscriber->poll_query_until('postgres', q{SELECT last_error ~ '^disarmed' FROM wee5_cron.worker WHERE datname = 'postgres'});
subscriber_is_silent('restarted after DROP SUBSCRIPTION');
is($subscriber->safe_psql('postgres', q{SELECT status FROM wee5_cron.doctor() WHERE check_name = 'subscription_target'}), 'ok', 'doctor() reports no subscription after DROP SUBSCRIPTION');

harvest_does_nothing('restarted after DROP SUBSCRIPTION');
$subscriber->safe_psql('postgres', q{DELETE FROM wee5_cron.invocation WHERE transport = 'pg_net'});

# The publisher is unaffected.
$receiver{publisher}->release_for_good;
is($publisher->finished('postgres', $_)->{status}, 'succeeded', "the publisher's call succeeds") for $hanging, $queued;
is(scalar(() = $receiver{publisher}->requests('/queued')), 1, '... and its queued call is sent once');

# arm(discard) makes it an independent database.
$subscriber->safe_psql('postgres', 'SELECT wee5_cron.arm(discard => true)');
is($subscriber->safe_psql('postgres', 'SELECT string_agg(DISTINCT status, $$,$$) FROM wee5_cron.invocation WHERE id IN (' . "$hanging, $queued)"), 'cancelled',
    'arm(discard) cancels the calls that the subscription brought');
is($subscriber->finished('postgres', $subscriber->safe_psql('postgres', q{SELECT setval('wee5_cron.invocation_id_seq', 1000); SELECT invoke_cron_endpoint('/own')}) =~ s/.*\n//r)->{status},
    'succeeded', '... and new calls succeed');
is(join(' ', map { $_->{path} } $receiver{subscriber}->requests(qr{^/})), '/own', '... and only the new call was sent');

# A subscription that ends before any worker has seen it: there is no free slot for one.
$subscriber->append_conf('postgresql.conf', "max_worker_processes = 4\nmax_logical_replication_workers = 2");
$subscriber->stop;
$subscriber->append_conf('postgresql.conf', 'max_worker_processes = 2');
$subscriber->start;
$subscriber->safe_psql('postgres', 'TRUNCATE wee5_cron.invocation, wee5_cron.attempt');
is($subscriber->safe_psql('postgres', 'SELECT wee5_cron.is_armed()'), 't', 'without a worker the database is armed');
subscribe(' WITH (copy_data = false)');
is($subscriber->safe_psql('postgres', 'SELECT wee5_cron.is_armed(), wee5_cron.has_mark()'), 'f|t', 'during the subscription it is not armed, but still has its mark');
$subscriber->raises('postgres', q{SELECT invoke_cron_endpoint('/x')}, '55000', 'a call during the subscription is an error', message => qr/receives its ledger by logical replication/);
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION s');
is($subscriber->safe_psql('postgres', 'SELECT wee5_cron.has_mark()'), 'f', 'DROP SUBSCRIPTION removes the mark');
$subscriber->safe_psql('postgres', 'SELECT wee5_cron.arm()');
subscribe(' WITH (copy_data = false)');
$publisher->safe_psql('postgres', 'CREATE TABLE t (); CREATE PUBLICATION other FOR TABLE t');
$subscriber->safe_psql('postgres', 'CREATE TABLE t ()');
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION s SET PUBLICATION other');
is($subscriber->safe_psql('postgres', 'SELECT wee5_cron.has_mark()'), 'f', 'ALTER SUBSCRIPTION that leaves the ledger out removes the mark, too');
$subscriber->safe_psql('postgres', 'SELECT wee5_cron.arm()');
is($subscriber->safe_psql('postgres', 'SELECT wee5_cron.is_armed()'), 't', 'a subscription to other tables does not disarm');
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION s');
is($subscriber->safe_psql('postgres', 'SELECT wee5_cron.is_armed()'), 't', '... and neither does its end');

# pg_createsubscriber: a standby is promoted, is an ordinary server for a while, and then becomes a subscriber. The tool is
# in PostgreSQL 17 and newer; here its steps are taken one by one.
$publisher->set_server('wee5_cron.max_in_flight', 1);
$receiver{hanging} = Wee5Cron::Receiver->start(secret => 'the secret');
$publisher->configure('postgres', api_url => $receiver{hanging}->url);
my $blocked = $publisher->block_the_wire('postgres', $receiver{hanging});
my $behind  = $publisher->call('postgres', '/behind');
$publisher->backup('base');
my $converted = Wee5Cron::Node->new('converted');
$converted->init_from_backup($publisher, 'base', has_streaming => 1);
my $lsn = $publisher->safe_psql('postgres', q{SELECT pg_create_logical_replication_slot('converted', 'pgoutput'); SELECT pg_switch_wal(); SELECT pg_current_wal_insert_lsn()}) =~ s/.*\n//sr;
$converted->append_conf('postgresql.conf', "recovery_target_lsn = '$lsn'\nrecovery_target_action = promote\nrecovery_target_inclusive = false\n");
$publisher->safe_psql('postgres', 'SELECT txid_current(); SELECT pg_switch_wal(); SELECT txid_current()');
$converted->append_conf('postgresql.conf', 'max_logical_replication_workers = 0');
$converted->start;
$converted->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'was not promoted';
$converted->poll_query_until('postgres', q{SELECT last_error ~ 'pg_createsubscriber' FROM wee5_cron.worker WHERE datname = 'postgres'}) or die 'no worker came';
$converted->raises('postgres', q{SELECT invoke_cron_endpoint('/x')}, '55000', 'a call on a server promoted by pg_createsubscriber is an error', message => qr/pg_createsubscriber/);
is(scalar(() = $receiver{hanging}->requests('/behind')), 0, '... and no request is sent');
$converted->safe_psql('postgres', "CREATE SUBSCRIPTION c CONNECTION '$connection' PUBLICATION p WITH (create_slot = false, enabled = false, slot_name = 'converted', copy_data = false)");
$converted->stop;
$converted->adjust_conf('postgresql.conf', 'recovery_target_lsn', q{''});
$converted->adjust_conf('postgresql.conf', 'max_logical_replication_workers', '4');
$converted->start;
$converted->poll_query_until('postgres', 'SELECT NOT wee5_cron.has_mark()') or die 'the mark stays';
is($converted->safe_psql('postgres', 'SELECT wee5_cron.is_armed()'), 'f', 'a server that starts as a subscriber has no mark');
$converted->safe_psql('postgres', 'ALTER SUBSCRIPTION c SET (slot_name = NONE); DROP SUBSCRIPTION c');
$converted->restart;
$converted->wait_for_worker('postgres');
$converted->poll_query_until('postgres', q{SELECT last_error ~ '^disarmed' FROM wee5_cron.worker WHERE datname = 'postgres'});
is($converted->safe_psql('postgres', 'SELECT wee5_cron.is_armed()'), 'f', '... even after the subscription has ended');
$receiver{hanging}->release_for_good;
is($publisher->finished('postgres', $behind)->{status}, 'succeeded', 'the original sends its queued call');
is(scalar(() = $receiver{hanging}->requests('/behind')), 1, '... once');

$_->log_is_sane($_->name . ': the log records no crash') for $publisher, $subscriber, $converted;
done_testing();
