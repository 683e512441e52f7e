# A cluster that Patroni manages: machines in a network of their own, each with a server and a Patroni, and three more with a
# member of an etcd each. For Patroni 3 and 4.
#
#   use Wee5Cron::Network;                           # first
#   my $cluster = Wee5Cron::Patroni->start(members => [qw(a b c)], synchronous => 1);    # the first one leads
#   my $leader = $cluster->node('a');                # a Wee5Cron::Node
#   $cluster->wait_for_synchronous;                  # from here, each commit waits for a standby
#   $cluster->kill9('a');
#   my $next = $cluster->wait_for_leader_besides('a');    # its name. Which standby that is, Patroni decides
package Wee5Cron::Patroni;

use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use Wee5Cron::Network;
use Wee5Cron::Node;
use Wee5Cron::Process;

# A Debian package puts them there. The PATH of the tests may lack it.
my %program = map { my $name = $_; $name => (grep { -x } map { "$_/$name" } qw(/usr/bin /usr/local/bin))[0] } qw(patroni etcd);

# Of its processes, by their command lines.
my $is_server  = qr{^(?:\S*/)?postgres\b};
my $is_patroni = qr{^\S*python3\S* \S*/patroni };

# What is not installed.
sub missing_programs {
    my @missing = grep { !defined $program{$_} } sort keys %program;
    return @missing if @missing;
    return _interface() eq 'etcd' && system("/usr/bin/python3 -c 'import etcd' 2>/dev/null") != 0 ? 'python3-etcd' : ();
}

sub start {
    my ($class, %params) = @_;
    my @names = @{ $params{members} };
    my $network = Wee5Cron::Network->new;
    my $self = bless {
        members     => {},
        etcd        => {},    # its members
        network     => $network,
        directory   => PostgreSQL::Test::Utils::tempdir('cluster'),
        synchronous => $params{synchronous},
        unasked     => {},    # members that cannot know what the others do
    }, $class;
    $self->{members}{$_} = { node => Wee5Cron::Node->new($_), machine => $network->machine($_) } for @names;
    $self->_start_etcd(map { $network->machine("etcd$_") } 1 .. 3);
    for my $name (@names) {
        append_to_file("$self->{directory}/$name.yml", $self->_configuration($name));
        $self->_start_patroni($name);
        $name eq $names[0] ? $self->wait_until_leads($name) : $self->wait_until_follows($name);
    }
    $self->wait_for_synchronous if $self->{synchronous};
    return $self;
}

sub node    { my ($self, $name) = @_; return $self->{members}{$name}{node} }
sub machine { my ($self, $name) = @_; return $self->{members}{$name}{machine} }

# All servers.
sub nodes {
    my ($self) = @_;
    return map { $self->node($_) } sort keys %{ $self->{members} };
}

# Where apps listen, for the calls of this cluster.
sub app_address { my ($self) = @_; return $self->{network}->app_address }

# Which interface of etcd Patroni uses. By version 3, a Patroni before 3.0.3 whose lock has expired, such as one that was
# frozen, overwrites the lock of the server that leads meanwhile.
sub _interface {
    my ($major, $minor, $patch) = `$program{patroni} --version` =~ /(\d+)\.(\d+)\.(\d+)/ or die "patroni has no version\n";
    return $major * 10_000 + $minor * 100 + $patch < 3_00_03 ? 'etcd' : 'etcd3';
}

# On machines that are never cut off: a member that is cut off with a Patroni still answers it with what was true before.
sub _start_etcd {
    my ($self, @machines) = @_;
    my %peers = map { $_->{name} => 'http://' . $_->address . ':2380' } @machines;
    for my $machine (@machines) {
        my ($name, $clients) = ($machine->{name}, 'http://' . $machine->address . ':2379');
        $self->{etcd}{$name} = { address => $machine->address . ':2379', process => Wee5Cron::Process->start(
            command => $machine->command(
                $program{etcd}, '--name', $name, '--data-dir', "$self->{directory}/$name",
                '--listen-client-urls', $clients, '--advertise-client-urls', $clients,
                '--listen-peer-urls', $peers{$name}, '--initial-advertise-peer-urls', $peers{$name},
                '--initial-cluster', join(',', map { "$_=$peers{$_}" } sort keys %peers),
                # A busy machine is no reason for an election.
                qw(--enable-v2 --heartbeat-interval 300 --election-timeout 3000)),
            log   => "$PostgreSQL::Test::Utils::log_path/$name.log",
            until => qr/\A/) };
    }
    return;
}

sub _start_patroni {
    my ($self, $name) = @_;
    my $member = $self->{members}{$name};
    $member->{patroni} = Wee5Cron::Process->start(
        command => $member->{machine}->command($program{patroni}, "$self->{directory}/$name.yml"),
        log     => $member->{node}->logfile,
        until   => qr/\A/);
    return;
}

# A leader that dies is replaced at once. One whose Patroni dies or is cut off is replaced when its 20 seconds are over, the
# least that Patroni accepts.
sub _configuration {
    my ($self, $name) = @_;
    my ($node, $machine) = @{ $self->{members}{$name} }{qw(node machine)};
    my $bin = `pg_config --bindir`;
    chomp $bin;
    my $user = getpwuid $>;
    my ($port, $socket, $data, $address) = ($node->port, $node->host, $node->data_dir, $machine->address);
    my $etcd = join ', ', map { qq("$_->{address}") } values %{ $self->{etcd} };
    my $interface = _interface();
    my $synchronous = $self->{synchronous} ? 'true' : 'false';
    return <<"YAML";
scope: wee5
name: $name
restapi: {listen: "0.0.0.0:8008", connect_address: "$address:8008"}
$interface: {hosts: [$etcd]}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 6
    primary_start_timeout: 0
    primary_stop_timeout: 5
    synchronous_mode: $synchronous
    postgresql:
      use_pg_rewind: true
      parameters:
        max_worker_processes: 16
        max_connections: 50
        wal_log_hints: "on"
  initdb: [{encoding: UTF8}, {locale: C}, {auth: trust}, no-sync]
postgresql:
  listen: "$address,127.0.0.1:$port"
  connect_address: "$address:$port"
  use_unix_socket: true
  data_dir: "$data"
  bin_dir: "$bin"
  pgpass: "$self->{directory}/$name.pgpass"
  authentication:
    superuser: {username: "$user"}
    replication: {username: replicator}
    rewind: {username: "$user"}
  pg_hba:
    - local all all trust
    - host all all samenet trust
    - host replication replicator samenet trust
  parameters:
    unix_socket_directories: "$socket"
    fsync: "off"
    shared_preload_libraries: pg_cron,wee5_cron
    cron.database_name: postgres
    cron.use_background_workers: "on"
    wee5_cron.default_jobs: "off"
    wee5_cron.max_in_flight: 200
YAML
}

# Asks the Patroni of a member: undef if it does not answer.
sub _ask {
    my ($self, $name, $method, $path, $question) = @_;
    my $answer = HTTP::Tiny->new(timeout => $method eq 'GET' ? 3 : 60)->request(
        $method, 'http://' . $self->machine($name)->app_address . ":8008$path",
        { $question ? (content => JSON::PP->new->encode($question)) : () });
    return $answer->{success} ? $answer->{content} : undef;
}

# What each server is, in Patroni's words: { a => 'leader', b => 'sync_standby', c => 'replica' }.
sub roles {
    my ($self) = @_;
    for my $name (sort grep { !$self->{unasked}{$_} } keys %{ $self->{members} }) {
        my $answer = $self->_ask($name, GET => '/cluster') // next;
        return { map { $_->{name} => $_->{role} . ($_->{state} =~ /^(?:running|streaming)$/ ? '' : " $_->{state}") }
              @{ JSON::PP->new->decode($answer)->{members} } };
    }
    return {};
}

sub _named {
    my ($self, $role) = @_;
    my $roles = $self->roles;
    return (grep { $roles->{$_} eq $role } sort keys %$roles)[0];
}

sub _wait_until {
    my ($self, $what, $reached) = @_;
    my $until = time + $PostgreSQL::Test::Utils::timeout_default;
    my $result;
    until ($result = $reached->()) {
        die "$what did not come: " . JSON::PP->new->canonical->encode($self->roles) . "\n" if time > $until;
        usleep(200_000);
    }
    return $result;
}

sub _answers {
    my ($self, $name, $query) = @_;
    my ($status, $answer) = $self->node($name)->psql('postgres', $query);
    return $status == 0 ? $answer : '';
}

# Patroni says so, and the server takes writes.
sub wait_until_leads {
    my ($self, $name) = @_;
    $self->_wait_until("$name as the leader",
        sub { ($self->_named('leader') // '') eq $name && $self->_answers($name, 'SELECT NOT pg_is_in_recovery()') eq 't' });
    return;
}

# Waits until another member than this one leads and takes writes, and returns its name. With an audit, an app makes calls all
# the while, and the audit hears of those that were committed.
sub wait_for_leader_besides {
    my ($self, $old, $audit) = @_;
    my ($committed, $refused) = (0, 0);
    my $name = $self->_wait_until("a leader besides $old", sub {
        if ($audit) {
            my $id = $self->call_of_an_app("/hang?$audit->{name}-meanwhile");
            defined $id ? $audit->was_committed($id) : $refused++;
            $committed++ if defined $id;
        }
        my $leader = $self->_named('leader') // return 0;
        return $leader ne $old && $leader;
    });
    $self->wait_until_leads($name);
    note("until $name led: $committed calls were committed, $refused refused") if $audit;
    return $name;
}

# It is a standby, receives what the leader writes, and answers queries, which it does not until its data is consistent.
sub wait_until_follows {
    my ($self, $name) = @_;
    $self->_wait_until("$name as a standby", sub {
        my $leader = $self->_named('leader') // return 0;
        return
             $leader ne $name
          && $self->_answers($leader, "SELECT count(*) FROM pg_stat_replication WHERE application_name = '$name' AND state = 'streaming'") eq '1'
          && $self->_answers($name, 'SELECT pg_is_in_recovery()') eq 't';
    });
    return;
}

# Waits until each commit of the leader waits for a standby.
sub wait_for_synchronous {
    my ($self) = @_;
    $self->_wait_until('a synchronous standby', sub {
        my $leader = $self->_named('leader') // return 0;
        my $name = $self->_named('sync_standby') // return 0;
        return $self->_answers($leader, "SELECT sync_state FROM pg_stat_replication WHERE application_name = '$name'") eq 'sync';
    });
    return;
}

sub kill9 {
    my ($self, $name) = @_;
    my ($pid) = slurp_file($self->node($name)->data_dir . '/postmaster.pid') =~ /\A(\d+)/;
    kill 'KILL', $pid;
    return;
}

sub kill9_patroni {
    my ($self, $name) = @_;
    $self->{unasked}{$name} = 1;
    $self->{members}{$name}{patroni}->stop;
    return;
}

sub start_patroni_again {
    my ($self, $name) = @_;
    $self->_start_patroni($name);
    delete $self->{unasked}{$name};
    return;
}

# The whole machine, as if its host had paused it. The other members do not hear of it.
sub freeze {
    my ($self, $name) = @_;
    $self->{unasked}{$name} = 1;
    $self->machine($name)->freeze;
    return;
}

sub thaw {
    my ($self, $name) = @_;
    $self->machine($name)->signal('CONT');
    delete $self->{unasked}{$name};
    return;
}

# Only its Patroni: nobody tells the server that it leads no longer.
sub freeze_patroni {
    my ($self, $name) = @_;
    $self->{unasked}{$name} = 1;
    $self->machine($name)->signal('STOP', $is_patroni);
    return;
}

# The other machines are out of its reach. The app is not.
sub isolate {
    my ($self, $name) = @_;
    $self->{unasked}{$name} = 1;
    return $self->machine($name)->cut_off;
}

sub join_again {
    my ($self, $name) = @_;
    $self->machine($name)->connect_again;
    delete $self->{unasked}{$name};
    return;
}

sub power_off {
    my ($self, $name) = @_;
    $self->{unasked}{$name} = 1;
    return $self->machine($name)->power_off;
}

sub power_on {
    my ($self, $name) = @_;
    return $self->start_patroni_again($name);
}

# To whom, Patroni decides.
sub switch_over {
    my ($self, $from) = @_;
    $self->_ask($from, POST => '/switchover', { leader => $from }) // die "no switchover from $from\n";
    return;
}

# Makes a call as an app does that knows all servers and writes to the one that leads. Returns its id, or undef if none was
# committed, as far as the app knows.
sub call_of_an_app {
    my ($self, $path) = @_;
    my @nodes = $self->nodes;
    my $servers = sprintf 'host=%s port=%s dbname=postgres target_session_attrs=read-write connect_timeout=2',
      join(',', map { $_->host } @nodes), join(',', map { $_->port } @nodes);
    my $id = `timeout 10 psql -XAtq -d '$servers' -c "SELECT invoke_cron_endpoint('$path')" 2>/dev/null`;
    return $? == 0 && $id =~ /^(\d+)$/m ? $1 : undef;
}

1;
