# Two servers that Patroni manages, with synchronous replication. The leader is killed while 5,000 calls are queued and 200
# are on the wire, and calls are made all the time. What was committed is delivered by the new leader, and what the ledger
# says is true. The jobs go on there, the old leader comes back as its standby, and leads again after a switchover.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Audit;
use Wee5Cron::Patroni;

if (my @missing = Wee5Cron::Patroni::missing_programs()) { plan skip_all => "@missing: not installed" }

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $cluster  = Wee5Cron::Patroni->start(qw(a b));
my ($first, $second) = map { $cluster->node($_) } qw(a b);
$first->install('postgres', api_url => $receiver->url, secret => 'the secret');

# The two servers as an app knows them: it writes to the one that leads.
my $either = sprintf "host=%s,%s port=%s,%s dbname=postgres target_session_attrs=read-write connect_timeout=2",
  map { ($first->$_, $second->$_) } qw(host port);

# Makes a call at whichever server leads. Returns its id, or undef if none was committed, as far as the app knows.
sub call_of_an_app {
    my ($path) = @_;
    my $id = `psql -XAtq -d '$either' -c "SELECT invoke_cron_endpoint('$path')" 2>/dev/null`;
    return $? == 0 && $id =~ /^(\d+)$/m ? $1 : undef;
}

# Before.
my $before = Wee5Cron::Audit->new($first, 'postgres', $receiver);
$receiver->release_for_good;
$before->commit_calls(200);
$before->nothing_is_lost('calls before the failover');
is($before->repeats, 0, '... each of them sent once');
$first->safe_psql('postgres', "SELECT wee5_cron.schedule('tick', '* * * * *', '/status/200?tick')");

# Meanwhile.
$receiver->hold;
my $during = Wee5Cron::Audit->new($first, 'postgres', $receiver);
$during->roll_back_calls(100);
$during->commit_calls(5_000);
$during->wait_for_wire(200);
$cluster->kill9('a');
my ($committed, $refused) = (0, 0);
my $until = time + $PostgreSQL::Test::Utils::timeout_default;
while ($second->safe_psql('postgres', 'SELECT pg_is_in_recovery()') eq 't') {
    die "b is not promoted\n" if time > $until;
    my $id = call_of_an_app('/hang?' . $during->{name} . '-meanwhile');
    defined $id ? $during->was_committed($id) : $refused++;
    $committed++ if defined $id;
}
$cluster->wait_until_leads('b');
note("while nobody led: $committed calls were committed, $refused refused");
$second->wait_for_worker('postgres');
my $id = call_of_an_app('/hang?' . $during->{name} . '-new-leader');
ok(defined $id, 'the new leader takes calls');
$during->was_committed($id);
$receiver->release_for_good;
$during->asks($second);
$during->nothing_is_lost('the leader is killed, and Patroni promotes its standby');
is($during->repeats, 200, '... and that is done, since nobody knows what became of it');

# The job.
$second->poll_query_until('postgres', <<'SQL') or die "no tick\n";
SELECT count(*) > 0 FROM wee5_cron.invocation
WHERE job_name = 'tick' AND status = 'succeeded' AND requested_at > pg_postmaster_start_time() AND requested_at > now() - interval '2 minutes'
  AND id > (SELECT max(id) FROM wee5_cron.invocation WHERE endpoint_path LIKE '%-new-leader')
SQL
pass('the job goes on at the new leader');
is($second->safe_psql('postgres', "SELECT string_agg(check_name || ': ' || detail, '; ') FROM wee5_cron.doctor() WHERE status = 'error'"), '',
    '... whose doctor() finds no error');

# The old leader comes back.
$cluster->wait_until_synchronous('a');
is($first->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'the old leader is the standby of the new one');
is($first->worker_pid('postgres'), '', '... and has no worker');
my $ledger = 'SELECT md5(string_agg(i::text, chr(10) ORDER BY id)) FROM wee5_cron.invocation i WHERE id <= ' . $id;
is($first->safe_psql('postgres', $ledger), $second->safe_psql('postgres', $ledger), '... with the same ledger');

# It leads again, by a switchover with calls on the wire.
$receiver->hold;
my $after = Wee5Cron::Audit->new($second, 'postgres', $receiver);
$after->commit_calls(1_000);
$after->wait_for_wire(200);
$cluster->switch_over(qw(b a));
$cluster->wait_until_leads('a');
$first->wait_for_worker('postgres');
$receiver->release_for_good;
$after->asks($first);
$after->nothing_is_lost('a switchover');
$cluster->wait_until_synchronous('b');
my $again = Wee5Cron::Audit->new($first, 'postgres', $receiver);
$again->commit_calls(200);
$again->nothing_is_lost('calls after it');
is($again->repeats, 0, '... each of them sent once');

# A machine is gone, with the Patroni on it.
$cluster->power_off('a');
$cluster->wait_until_leads('b');
$cluster->power_on('a');
$cluster->wait_until_synchronous('a');
my $gone = Wee5Cron::Audit->new($second, 'postgres', $receiver);
$gone->commit_calls(200);
$gone->nothing_is_lost('the machine of the leader is gone, and comes back');
is($gone->repeats, 0, '... each of them sent once');

$_->log_is_sane for $first, $second;
done_testing();
