Clusters of Redis servers log on with AWS's IAM (``aws_iam`` of ``RedisProtocolOptions``).
