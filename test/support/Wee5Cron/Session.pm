# A psql that stays open for several statements. It ends with the object.
package Wee5Cron::Session;

use strict;
use warnings;

use IO::Select;

use Wee5Cron::Pipes qw(start_with_pipes);

my $end_of_answer = 'end of the answer';

sub open {
    my ($class, $node, $database) = @_;
    local %ENV = $node->_get_env();
    my $psql = start_with_pipes([ 'psql', '-XAtq', '-d', $node->connstr($database) ],
        program => $node->installed_command('psql'), with_errors => 1);
    return bless $psql, $class;
}

# What psql prints for the statement, including errors, without the last newline; undef if its session has ended, or
# has not answered by the deadline.
sub answer {
    my ($self, $statement, $deadline) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $question = "$statement\n;\n\\echo $end_of_answer\n";
    $self->{unanswered} = 1;
    defined syswrite($self->{input}, $question) or return undef;
    my $selected = IO::Select->new($self->{output});
    my $output   = '';
    while ($output !~ /^\Q$end_of_answer\E\n\z/m) {
        my $left = $deadline - time;
        return undef unless $left > 0 && $selected->can_read($left);
        sysread($self->{output}, $output, 65536, length $output) or return undef;
    }
    $self->{unanswered} = 0;
    $output =~ s/\n?\Q$end_of_answer\E\n\z//;
    return $output;
}

# Waits for the end of psql. Its statement may still run if it did not answer in time.
sub DESTROY {
    my ($self) = @_;
    local ($?, $!, $@);
    close $self->{input};
    kill 'TERM', $self->{pid} if $self->{unanswered};
    waitpid $self->{pid}, 0;
    return;
}

1;
