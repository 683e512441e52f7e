# 5,000 calls are queued and 200 are on the wire when the primary is killed, and its synchronous standby is promoted.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Audit;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $primary = Wee5Cron::Node->new_configured('primary', init => { allows_streaming => 1 }, conf => 'wee5_cron.max_in_flight = 200');
$primary->start;
$primary->install('postgres', api_url => $receiver->url, secret => 'the secret');
$primary->backup('base');
my $standby = Wee5Cron::Node->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "primary_conninfo = '" . $primary->connstr . " application_name=standby'");
$standby->start;
$primary->set_server('synchronous_standby_names', 'standby');
$primary->poll_query_until('postgres', "SELECT sync_state = 'sync' FROM pg_stat_replication") or die "the standby is not synchronous\n";

# Some that were answered and booked long before, some on the wire, the rest behind them.
my $audit = Wee5Cron::Audit->new($primary, 'postgres', $receiver);
$receiver->release_for_good;
$audit->commit_calls(500, 'early');
$primary->wait_until_all_finished('postgres');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
$receiver->hold;
my $early = $audit->deliveries;
$audit->roll_back_calls(100);
my $session = $primary->background_psql('postgres');
$session->query_safe('BEGIN; ' . $audit->calls(500, 'rolled-back') =~ s/^SELECT (.*) FROM/SELECT count($1) FROM/r);
$audit->commit_calls(5_200);
$audit->wait_for_wire(200, $early);

$primary->kill9;
$standby->promote;
eval { $session->quit };
$standby->wait_for_worker('postgres');
$receiver->release_for_good;
$audit->asks($standby);
$audit->nothing_is_lost('the synchronous standby is promoted');
is($audit->repeats, 200, '... which is done, because nobody knows what became of it');

# What the new primary gives out is new.
my $after = Wee5Cron::Audit->new($standby, 'postgres', $receiver);
$after->commit_calls(200);
$after->nothing_is_lost('calls after it');
is($after->repeats, 0, '... each of them sent once');
is(scalar(grep { my $id = $_->{id}; grep { $_->{id} == $id } $after->deliveries } $audit->deliveries), 0, '... under ids of their own');

$standby->log_is_sane;
done_testing();
