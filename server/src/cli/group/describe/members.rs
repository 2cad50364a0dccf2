//! A row for each member: who it is, what it has, and with the consumer protocol what it is going to have.

use super::View;
use crate::cli::group::assignment::Assignment;
use crate::cli::group::description::{Group, Member};
use crate::cli::output::fields;
use crate::cli::table::Column;

const COLUMNS: [Column; 10] = [
    Column::left("group"),
    Column::left("member"),
    Column::left("instance").if_any(),
    Column::left("host"),
    Column::left("client"),
    Column::right("epoch").if_any(),
    Column::right("target epoch").if_any(),
    Column::right("partitions"),
    Column::left("assignment"),
    Column::left("target").if_any(),
];

/// Instead of a target that is the present assignment.
const SAME: &str = "same";

pub(super) fn view(groups: &[Group]) -> View {
    let mut view = View::new(&COLUMNS);
    for group in groups {
        for member in &group.members {
            push(&mut view, group, member);
        }
        if group.members.is_empty() {
            view.empty.push(format!("group {:?} has no members", group.name));
        }
    }
    view
}

fn push(view: &mut View, group: &Group, member: &Member) {
    let target_epoch = group.epochs.map(|epochs| epochs.assignment);
    let target = member.target.as_ref();
    let row = vec![
        Some(group.name.clone()),
        Some(member.id.clone()),
        member.instance_id.clone(),
        Some(member.host.clone()),
        Some(member.client_id.clone()),
        member.epoch.map(|epoch| epoch.to_string()),
        target_epoch.map(|epoch| epoch.to_string()),
        Some(member.assignment.len().to_string()),
        member.assignment.as_text(),
        target.and_then(|target| match *target == member.assignment {
            true => Some(SAME.to_owned()),
            false => target.as_text(),
        }),
    ];
    let object = fields! {
        kind: "member", group: group.name.as_str(), member_id: member.id.as_str(),
        instance_id: member.instance_id.clone(), host: member.host.as_str(), client_id: member.client_id.as_str(),
        epoch: member.epoch, target_epoch: target_epoch, assignment: member.assignment.as_json(),
        target_assignment: target.map(Assignment::as_json),
    };
    view.push(row, object);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::group::args::GroupType;
    use crate::cli::group::description::Epochs;

    fn partitions(partitions: &[i32]) -> Assignment {
        [("t".to_owned(), partitions.to_vec())].into_iter().collect()
    }

    fn member(id: &str, has: &[i32], target: Option<&[i32]>) -> Member {
        Member {
            id: id.to_owned(),
            client_id: "c".to_owned(),
            host: "h".to_owned(),
            epoch: target.map(|_| 4),
            assignment: partitions(has),
            target: target.map(partitions),
            ..Default::default()
        }
    }

    fn group(members: Vec<Member>, epochs: Option<Epochs>) -> Group {
        Group {
            name: "g".to_owned(),
            kind: GroupType::Classic,
            state: "Stable".to_owned(),
            assignor: None,
            epochs,
            members,
            unreadable: Vec::new(),
        }
    }

    #[test]
    fn a_classic_member_has_no_epoch_and_no_target() {
        let view = view(&[group(
            vec![member("m", &[0, 1], None), member("n", &[], None)],
            None,
        )]);
        assert_eq!(
            view.table.lines(),
            [
                "group  member  host  client  partitions  assignment",
                "g      m       h     c                2  t:0-1",
                "g      n       h     c                0  -"
            ]
        );
    }

    #[test]
    fn a_target_is_shown_where_it_differs() {
        let members = vec![
            member("m", &[0], Some(&[0])),
            member("n", &[1, 2], Some(&[2])),
            member("o", &[3], Some(&[])),
        ];
        let epochs = Epochs {
            group: 5,
            assignment: 5,
        };
        let view = view(&[group(members, Some(epochs))]);
        assert_eq!(
            view.table.lines(),
            [
                "group  member  host  client  epoch  target epoch  partitions  assignment  target",
                "g      m       h     c           4             5           1  t:0         same",
                "g      n       h     c           4             5           2  t:1-2       t:2",
                "g      o       h     c           4             5           1  t:3         -"
            ]
        );
        assert_eq!(view.objects[1]["target_assignment"].to_string(), r#"{"t":[2]}"#);
    }

    #[test]
    fn a_group_without_members_is_told_of() {
        let view = view(&[group(Vec::new(), None)]);
        assert_eq!(view.empty, ["group \"g\" has no members"]);
        assert!(view.table.lines().is_empty());
    }
}
