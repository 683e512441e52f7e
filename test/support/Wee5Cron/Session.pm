# A psql that stays open for several questions. It ends with the object.
package Wee5Cron::Session;

use strict;
use warnings;

use IO::Select;
use POSIX ();

my $end_of_answer = 'end of the answer';

sub open {
    my ($class, $node, $database) = @_;
    pipe(my $questions_read, my $questions) or die "pipe: $!";
    pipe(my $answers, my $answers_write)    or die "pipe: $!";
    local %ENV = $node->_get_env();
    my $psql = $node->installed_command('psql');
    # A child that is ended before it has become psql must not end the test's servers.
    local $SIG{TERM} = 'DEFAULT';
    my $pid = fork() // die "fork: $!";
    if ($pid == 0) {
        POSIX::dup2(fileno($questions_read), 0);
        POSIX::dup2(fileno($answers_write),  1);
        POSIX::dup2(fileno($answers_write),  2);
        POSIX::_exit(127) unless exec { $psql } 'psql', '-XAtq', '-d', $node->connstr($database);
    }
    close $questions_read;
    close $answers_write;
    return bless { pid => $pid, questions => $questions, answers => $answers }, $class;
}

# What psql prints for the statement, errors included, without the last newline; undef where its session has ended, or
# has not answered by the deadline.
sub answer {
    my ($self, $statement, $deadline) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $question = "$statement\n;\n\\echo $end_of_answer\n";
    $self->{unanswered} = 1;
    defined syswrite($self->{questions}, $question) or return undef;
    my $selected = IO::Select->new($self->{answers});
    my $output   = '';
    while ($output !~ /^\Q$end_of_answer\E\n\z/m) {
        my $left = $deadline - time;
        return undef unless $left > 0 && $selected->can_read($left);
        sysread($self->{answers}, $output, 65536, length $output) or return undef;
    }
    $self->{unanswered} = 0;
    $output =~ s/\n?\Q$end_of_answer\E\n\z//;
    return $output;
}

# Waits for the end of psql. Its statement may still run if it did not answer in time.
sub DESTROY {
    my ($self) = @_;
    local ($?, $!, $@);
    close $self->{questions};
    kill 'TERM', $self->{pid} if $self->{unanswered};
    waitpid $self->{pid}, 0;
    return;
}

1;
